//! The report of a soak, as text and as JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::config::{Config, SETTLE_TIMEOUT};
use super::fault::samples_per_round;
use super::sampler::{Resource, Sample};
use super::trend::{Trend, trend};
use crate::audit::Audit;
use crate::load;
use crate::platform::output::{printable, wrapped};
use crate::platform::plural::count;
use crate::platform::text_table;
use crate::testbed::service_kind::ServiceKind;

/// Lines of a printed table. The JSON report has all samples.
const MAX_TABLE_LINES: usize = 12;
const COLUMN_WIDTH: usize = 8;

/// The measurements of a soak.
pub struct SoakResult {
    pub load: load::Report,
    pub samples: Vec<Sample>,
    pub deaths: u32,
    pub internal_errors: Vec<String>,
    pub unsettled: i64,
    pub audit: Audit,
}

/// The verdict on a soak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Passed,
    Failed,
    /// Nothing failed, but there are too few samples for a trend.
    Inconclusive,
}

impl Verdict {
    /// A trend is `None` if there are too few samples for it.
    fn of(is_healthy: bool, mut trends: impl Iterator<Item = Option<Trend>> + Clone) -> Self {
        if !is_healthy || trends.clone().flatten().any(|trend| trend.grows) {
            Self::Failed
        } else if trends.any(|trend| trend.is_none()) {
            Self::Inconclusive
        } else {
            Self::Passed
        }
    }
}

#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether the soak passed: nothing grows, no service died or had an internal error, every
    /// order is settled, and no invariant is violated.
    pub held: bool,
    pub verdict: Verdict,
    /// The requested duration.
    pub seconds: u64,
    pub load: load::Report,
    pub samples: Vec<Sample>,
    /// `None` if the soak was too short for a verdict.
    pub trends: BTreeMap<ServiceKind, BTreeMap<Resource, Option<Trend>>>,
    /// How often a service died.
    pub deaths: u32,
    /// Log lines of requests that failed because of an error in the service itself, at most ten.
    #[serde(rename = "mistakes")]
    pub internal_errors: Vec<String>,
    /// The number of orders that did not settle in time.
    pub unsettled: i64,
    pub audit: Audit,
}

impl Report {
    pub fn new(config: &Config, result: SoakResult) -> Self {
        let SoakResult {
            load,
            samples,
            deaths,
            internal_errors,
            unsettled,
            audit,
        } = result;
        let trends = trends(config, &samples);
        let is_consistent = audit.clean && audit.orders.reservations_without_order == 0;
        let is_faultless = deaths == 0 && internal_errors.is_empty();
        let is_healthy = is_consistent && is_faultless && unsettled == 0;
        let all_trends = trends.values().flat_map(BTreeMap::values).copied();
        let verdict = Verdict::of(is_healthy, all_trends);
        Self {
            held: verdict == Verdict::Passed,
            verdict,
            seconds: config.duration.as_secs(),
            load,
            samples,
            trends,
            deaths,
            internal_errors,
            unsettled,
            audit,
        }
    }
}

fn trends(
    config: &Config,
    samples: &[Sample],
) -> BTreeMap<ServiceKind, BTreeMap<Resource, Option<Trend>>> {
    let samples_per_round = samples_per_round(config.sample_interval);
    let trend_of = |service: ServiceKind, resource: Resource| {
        let values = samples
            .iter()
            .filter_map(|sample| sample.services.get(&service)?.get(&resource));
        let values: Vec<_> = values.copied().collect();
        trend(&values, samples_per_round, resource.tolerance())
    };
    let of_service = |service: ServiceKind| {
        let trends = Resource::ALL.map(|resource| (resource, trend_of(service, resource)));
        (service, BTreeMap::from(trends))
    };
    ServiceKind::ALL.map(of_service).into()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Soak of {} s\n{}", self.seconds, self.load)?;
        for service in ServiceKind::ALL {
            write_table(f, service, &self.samples)?;
        }
        writeln!(f, "Growth is measured over the second half.")?;
        for (service, trends) in &self.trends {
            for (resource, trend) in trends {
                write_trend(f, &format!("{service} {}", resource.name()), trend.as_ref())?;
            }
        }
        if self.deaths > 0 {
            writeln!(
                f,
                "✗ a service died without a fault (deaths: {})",
                self.deaths
            )?;
        }
        for line in &self.internal_errors {
            let line = printable(line);
            for line in wrapped(&format!("✗ internal error: {line}"), text_table::WIDTH) {
                writeln!(f, "{line}")?;
            }
        }
        if self.unsettled > 0 {
            let (unsettled, seconds) = (count(self.unsettled, "order"), SETTLE_TIMEOUT.as_secs());
            writeln!(
                f,
                "✗ {unsettled} still unsettled {seconds} s after the last fault"
            )?;
        }
        writeln!(f, "{}", self.audit)?;
        let holds = self.audit.orders.reservations_without_order;
        if holds > 0 {
            writeln!(
                f,
                "✗ reservations without an order: {holds}; each order of a soak is stored"
            )?;
        }
        f.write_str(match self.verdict {
            Verdict::Passed => "The soak passed.",
            Verdict::Failed => "The soak failed. Each line with ✗ says why.",
            Verdict::Inconclusive => {
                "The soak is inconclusive: nothing failed, but there are too few samples for a\n\
                 trend. Run it for longer."
            }
        })
    }
}

fn write_trend(f: &mut fmt::Formatter<'_>, name: &str, trend: Option<&Trend>) -> fmt::Result {
    let Some(Trend {
        median,
        growth,
        tolerated,
        grows,
    }) = trend
    else {
        return writeln!(f, "? {name:<18} inconclusive: too few samples");
    };
    let mark = if *grows { "✗" } else { "✓" };
    writeln!(
        f,
        "{mark} {name:<18} median {median:.1}, growth {growth:+.1}, tolerated {tolerated:.1}"
    )
}

/// Writes some of the samples of a service, the last one among them.
fn write_table(
    f: &mut fmt::Formatter<'_>,
    service: ServiceKind,
    samples: &[Sample],
) -> fmt::Result {
    writeln!(f, "{service}")?;
    write!(f, "{:>COLUMN_WIDTH$}", "s")?;
    for resource in Resource::ALL {
        write!(f, " {:>COLUMN_WIDTH$}", resource.name())?;
    }
    writeln!(f)?;
    let step = samples.len().div_ceil(MAX_TABLE_LINES).max(1);
    let newest_first: Vec<_> = samples.iter().rev().step_by(step).collect();
    for sample in newest_first.into_iter().rev() {
        write!(f, "{:>COLUMN_WIDTH$.0}", sample.seconds)?;
        let values = sample.services.get(&service);
        for resource in Resource::ALL {
            let decimals = usize::from(resource == Resource::MemoryMib);
            let value = values.and_then(|values| values.get(&resource));
            let value = value.copied().unwrap_or_default();
            write!(f, " {value:>COLUMN_WIDTH$.decimals$}")?;
        }
        writeln!(f)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_soak_without_a_trend_is_inconclusive_unless_something_failed() {
        let trend = |grows| {
            Some(Trend {
                median: 1.0,
                growth: 1.0,
                tolerated: 1.0,
                grows,
            })
        };
        for (is_healthy, trends, verdict) in [
            (true, [trend(false), trend(false)], Verdict::Passed),
            (true, [trend(false), None], Verdict::Inconclusive),
            (true, [trend(true), None], Verdict::Failed),
            (false, [trend(false), None], Verdict::Failed),
        ] {
            assert_eq!(Verdict::of(is_healthy, trends.into_iter()), verdict);
        }
    }

    #[test]
    fn a_failed_soak_has_a_line_for_each_cause_within_80_columns() {
        let audit = Audit {
            at: chrono::DateTime::UNIX_EPOCH,
            clean: true,
            invariants: Vec::new(),
            products: Vec::new(),
            orders: crate::audit::Orders {
                total: 9,
                confirmed: 9,
                failed: 0,
                unsettled: 0,
                leaving: 0,
                reservations_without_order: 2,
            },
            holds_without_order: Vec::new(),
        };
        let config = Config {
            duration: std::time::Duration::from_secs(60),
            rate: 1,
            sample_interval: std::time::Duration::from_secs(3),
            data_dir: None,
            progress: false,
        };
        let result = SoakResult {
            load: load::Report {
                steps: Vec::new(),
                thresholds: Vec::new(),
            },
            samples: Vec::new(),
            deaths: 1,
            internal_errors: vec![format!("{{\"message\":\"{}\"}}", "x".repeat(200))],
            unsettled: 3,
            audit,
        };
        let text = Report::new(&config, result).to_string();
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        for cause in [
            "a service died",
            "internal error",
            "3 orders",
            "reservations without",
        ] {
            assert!(text.contains(&format!("✗ {cause}")), "{cause}: {text}");
        }
    }
}
