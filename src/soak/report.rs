//! What a soak did and found, for people and for machines.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::sampler::{Figure, Sample};
use super::trend::{self, Trend};
use super::{Config, QUIET_LIMIT, samples_of_a_round};
use crate::audit::Audit;
use crate::load;
use crate::prove::plan::Role;

/// Lines of the table for people.
const LINES: usize = 12;

#[derive(Debug, Serialize)]
pub struct Report {
    /// Nothing grows, no process died or made a mistake, every order is settled, and the books
    /// balance.
    pub held: bool,
    pub seconds: u64,
    pub load: load::Report,
    pub samples: Vec<Sample>,
    /// By role and figure; nothing where the soak was too short to tell.
    pub trends: BTreeMap<Role, BTreeMap<Figure, Option<Trend>>>,
    pub deaths: u32,
    /// Log lines of requests that services failed by a mistake of their own; the first of them.
    pub mistakes: Vec<String>,
    pub unsettled: i64,
    pub audit: Audit,
}

impl Report {
    pub(super) fn new(
        config: &Config,
        samples: Vec<Sample>,
        deaths: u32,
        mistakes: Vec<String>,
        load: load::Report,
        unsettled: i64,
        audit: Audit,
    ) -> Self {
        let trend = |role: &Role, figure: Figure| {
            let series: Vec<_> = samples
                .iter()
                .filter_map(|sample| sample.roles.get(role)?.get(&figure).copied())
                .collect();
            trend::of(&series, samples_of_a_round(config), figure.tolerance())
        };
        let of_role = |role: Role| {
            (
                role,
                Figure::ALL
                    .map(|figure| (figure, trend(&role, figure)))
                    .into(),
            )
        };
        let trends: BTreeMap<Role, BTreeMap<_, _>> = Role::ALL.map(of_role).into();
        let steady = trends
            .values()
            .flat_map(BTreeMap::values)
            .all(|trend: &Option<Trend>| trend.is_some_and(|trend| !trend.grows));
        let sound = audit.clean && audit.orders.reservations_without_order == 0 && unsettled == 0;
        Self {
            held: steady && sound && deaths == 0 && mistakes.is_empty(),
            seconds: config.duration.as_secs(),
            load,
            samples,
            trends,
            deaths,
            mistakes,
            unsettled,
            audit,
        }
    }

    fn table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>7}", "s")?;
        for role in Role::ALL {
            for figure in Figure::ALL {
                // The first column of a role carries its name.
                let name = if figure == Figure::ALL[0] {
                    format!("{} {}", role.as_str(), figure.name())
                } else {
                    figure.name().to_owned()
                };
                write!(f, " {name:>width$}", width = width(role, figure))?;
            }
        }
        writeln!(f)?;
        let step = self.samples.len().div_ceil(LINES).max(1);
        for sample in self
            .samples
            .iter()
            .rev()
            .step_by(step)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
        {
            write!(f, "{:>7.0}", sample.seconds)?;
            for (role, figures) in &sample.roles {
                for figure in Figure::ALL {
                    let decimals = usize::from(figure == Figure::MemoryMib);
                    let value = figures.get(&figure).copied().unwrap_or_default();
                    write!(
                        f,
                        " {value:>width$.decimals$}",
                        width = width(*role, figure)
                    )?;
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

fn width(role: Role, figure: Figure) -> usize {
    let role = if figure == Figure::ALL[0] {
        role.as_str().len() + 3
    } else {
        0
    };
    (figure.name().len() + role).max(4)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Soak of {} s\n{}", self.seconds, self.load)?;
        self.table(f)?;
        for (role, trends) in &self.trends {
            for (figure, trend) in trends {
                let name = format!("{} {}", role.as_str(), figure.name());
                match trend {
                    Some(Trend {
                        median,
                        growth,
                        tolerated,
                        grows,
                    }) => writeln!(
                        f,
                        "{} {name:<18} around {median:.1}; {growth:+.1} over the second half, {tolerated:.1} is tolerated",
                        if *grows { "✗" } else { "✓" }
                    )?,
                    None => writeln!(f, "✗ {name:<18} too short to tell: six minutes are enough")?,
                }
            }
        }
        if self.deaths > 0 {
            writeln!(f, "✗ a service died {} times", self.deaths)?;
        }
        for line in &self.mistakes {
            writeln!(f, "✗ a service's own mistake: {line}")?;
        }
        if self.unsettled > 0 {
            let limit = QUIET_LIMIT.as_secs();
            writeln!(
                f,
                "✗ {} orders were unsettled {limit} s after the last fault",
                self.unsettled
            )?;
        }
        writeln!(f, "{}", self.audit)?;
        write!(
            f,
            "{}",
            if self.held {
                "It held."
            } else {
                "It did not hold."
            }
        )
    }
}
