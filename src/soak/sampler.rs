//! Samples what could grow: metrics of each service's process, and its database sessions.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::error::SoakError;
use super::trend::Tolerance;
use crate::prove::faults::ChaosCluster;
use crate::testbed::service_kind::ServiceKind;

const METRICS_TIMEOUT: Duration = Duration::from_secs(2);
const BYTES_PER_MIB: f64 = 1024.0 * 1024.0;

/// The figures that are sampled of each service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    MemoryMib,
    Descriptors,
    Threads,
    Tasks,
    Sessions,
}

impl Resource {
    pub const ALL: [Self; 5] = [
        Self::MemoryMib,
        Self::Descriptors,
        Self::Threads,
        Self::Tasks,
        Self::Sessions,
    ];

    /// The name in the table.
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

    /// The growth over half of the soak that is tolerated. Memory is allocated in large blocks, and
    /// the numbers of descriptors and tasks follow the open connections. Threads and sessions have
    /// no reason to grow.
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

    /// The series of `/metrics` with the value. The number of sessions comes from the database.
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

/// The values at one time.
#[derive(Debug, Clone, Serialize)]
pub struct Sample {
    /// Since the start of the soak.
    pub seconds: f64,
    #[serde(rename = "roles")]
    pub services: BTreeMap<ServiceKind, BTreeMap<Resource, f64>>,
}

/// Returns `None` when a service does not answer, as happens during a fault.
///
/// # Errors
/// When the database does not answer, or a service lacks a metric.
pub async fn take_sample(
    chaos_cluster: &ChaosCluster,
    http: &awc::Client,
    since_start: Duration,
) -> Result<Option<Sample>, SoakError> {
    let sessions = count_sessions(chaos_cluster).await?;
    let mut services = BTreeMap::new();
    for service in ServiceKind::ALL {
        let url = format!("{}/metrics", chaos_cluster.cluster().url(service));
        let Some(metrics) = read_metrics(http, &url).await else {
            return Ok(None);
        };
        let sessions = sessions.get(service.as_str()).copied().unwrap_or(0.0);
        services.insert(service, values(&metrics, sessions)?);
    }
    Ok(Some(Sample {
        seconds: since_start.as_secs_f64().round(),
        services,
    }))
}

fn values(metrics: &str, sessions: f64) -> Result<BTreeMap<Resource, f64>, SoakError> {
    let mut values = BTreeMap::new();
    for resource in Resource::ALL {
        let value = match resource.series() {
            None => sessions,
            Some(series) => {
                let value = value_of(metrics, series).ok_or(SoakError::MissingMetric(series))?;
                if resource == Resource::MemoryMib {
                    value / BYTES_PER_MIB
                } else {
                    value
                }
            }
        };
        values.insert(resource, value);
    }
    Ok(values)
}

async fn read_metrics(http: &awc::Client, url: &str) -> Option<String> {
    let text = async {
        let mut response = http.get(url).send().await.ok()?;
        String::from_utf8(response.body().await.ok()?.to_vec()).ok()
    };
    tokio::time::timeout(METRICS_TIMEOUT, text)
        .await
        .ok()
        .flatten()
}

fn value_of(metrics: &str, series: &str) -> Option<f64> {
    let value = |line: &str| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok();
    metrics.lines().find_map(value)
}

/// The number of database sessions by service name.
async fn count_sessions(chaos_cluster: &ChaosCluster) -> Result<BTreeMap<String, f64>, SoakError> {
    let statement = "SELECT application_name, count(*) FROM pg_stat_activity
        WHERE datname = current_database() GROUP BY application_name";
    let rows = chaos_cluster
        .session()
        .ask(async |client| client.query(statement, &[]).await)
        .await?;
    #[expect(clippy::cast_precision_loss, reason = "fewer than a hundred sessions")]
    let counts = rows
        .iter()
        .map(|row| (row.get(0), row.get::<_, i64>(1) as f64));
    Ok(counts.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_found_by_its_whole_name() {
        let metrics = "# HELP a x\na_b 1\na{c=\"d\"} 2\na 3.5e1\n";
        assert_eq!(value_of(metrics, "a"), Some(35.0));
        assert_eq!(value_of(metrics, "b"), None);
    }
}
