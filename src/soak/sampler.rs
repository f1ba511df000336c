//! What is watched for growth: figures of each role's process, and its sessions on the database.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::SoakError;
use super::trend::Tolerance;
use crate::prove::cluster::Cluster;
use crate::prove::plan::Role;

const LONGEST_ANSWER: Duration = Duration::from_secs(2);
const MIB: f64 = 1024.0 * 1024.0;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    MemoryMib,
    Descriptors,
    Threads,
    Tasks,
    Sessions,
}

impl Figure {
    pub const ALL: [Self; 5] = [
        Self::MemoryMib,
        Self::Descriptors,
        Self::Threads,
        Self::Tasks,
        Self::Sessions,
    ];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MemoryMib => "MiB",
            Self::Descriptors => "fds",
            Self::Threads => "threads",
            Self::Tasks => "tasks",
            Self::Sessions => "sessions",
        }
    }

    /// Of growth over half of the soak. Memory comes in arenas, descriptors and tasks with the
    /// connections of the moment; the others have no reason to grow at all.
    #[must_use]
    pub const fn tolerance(self) -> Tolerance {
        match self {
            Self::MemoryMib => Tolerance {
                absolute: 2.0,
                share: 0.05,
            },
            Self::Descriptors | Self::Tasks => Tolerance {
                absolute: 8.0,
                share: 0.05,
            },
            Self::Threads | Self::Sessions => Tolerance {
                absolute: 2.0,
                share: 0.0,
            },
        }
    }

    /// The series of `/metrics` that tells it; the database tells its sessions.
    const fn series(self) -> Option<&'static str> {
        match self {
            Self::MemoryMib => Some("process_resident_memory_bytes"),
            Self::Descriptors => Some("process_open_fds"),
            Self::Threads => Some("process_threads"),
            Self::Tasks => Some("valerix_tokio_alive_tasks"),
            Self::Sessions => None,
        }
    }
}

/// All figures of one moment.
#[derive(Debug, Clone, Serialize)]
pub struct Sample {
    pub seconds: f64,
    pub roles: BTreeMap<Role, BTreeMap<Figure, f64>>,
}

/// Looks at all roles. A fault of the moment may keep one from answering: then there is no sample.
///
/// # Errors
/// When the database does not answer.
pub async fn look(
    cluster: &Cluster,
    http: &awc::Client,
    since: Duration,
) -> Result<Option<Sample>, SoakError> {
    let mut roles = BTreeMap::new();
    let sessions = sessions(cluster).await?;
    for role in Role::ALL {
        let Some(text) = metrics(http, &format!("{}/metrics", cluster.url_of(role)?)).await else {
            return Ok(None);
        };
        let mut figures = BTreeMap::from([(
            Figure::Sessions,
            sessions.get(role.as_str()).copied().unwrap_or(0.0),
        )]);
        for figure in Figure::ALL {
            let Some(series) = figure.series() else {
                continue;
            };
            let value = value(&text, series).ok_or_else(|| SoakError::NotTold(series))?;
            figures.insert(
                figure,
                if figure == Figure::MemoryMib {
                    value / MIB
                } else {
                    value
                },
            );
        }
        roles.insert(role, figures);
    }
    Ok(Some(Sample {
        seconds: since.as_secs_f64().round(),
        roles,
    }))
}

async fn metrics(http: &awc::Client, url: &str) -> Option<String> {
    let answer = async {
        let mut response = http.get(url).send().await.ok()?;
        String::from_utf8(response.body().await.ok()?.to_vec()).ok()
    };
    tokio::time::timeout(LONGEST_ANSWER, answer)
        .await
        .ok()
        .flatten()
}

fn value(text: &str, series: &str) -> Option<f64> {
    text.lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

/// By the role's name.
async fn sessions(cluster: &Cluster) -> Result<BTreeMap<String, f64>, SoakError> {
    let statement =
        "SELECT application_name, count(*) FROM pg_stat_activity WHERE datname = current_database()
                     GROUP BY application_name";
    let rows = cluster.connect().await?.query(statement, &[]).await?;
    #[expect(clippy::cast_precision_loss, reason = "some dozens")]
    let sessions = rows
        .iter()
        .map(|row| (row.get(0), row.get::<_, i64>(1) as f64));
    Ok(sessions.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_found_by_its_whole_name() {
        let text = "# HELP a x\na_b 1\na{c=\"d\"} 2\na 3.5e1\n";
        assert_eq!((value(text, "a"), value(text, "b")), (Some(35.0), None));
    }
}
