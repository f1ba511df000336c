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
use crate::testbed::service_kind::ServiceKind;

/// Lines of the printed table. The JSON report has all samples.
const MAX_TABLE_LINES: usize = 12;
const MIN_COLUMN_WIDTH: usize = 4;
const SECONDS_WIDTH: usize = 7;

/// The measurements of a soak.
pub struct SoakResult {
    pub load: load::Report,
    pub samples: Vec<Sample>,
    pub deaths: u32,
    pub internal_errors: Vec<String>,
    pub unsettled: i64,
    pub audit: Audit,
}

#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether the soak passed: nothing grows, no service died or had an internal error, every
    /// order is settled, and no invariant is violated.
    pub held: bool,
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
        let is_steady = trends
            .values()
            .flat_map(BTreeMap::values)
            .all(|trend| trend.is_some_and(|trend| !trend.grows));
        let is_consistent = audit.clean && audit.orders.reservations_without_order == 0;
        let is_faultless = deaths == 0 && internal_errors.is_empty();
        Self {
            held: is_steady && is_consistent && is_faultless && unsettled == 0,
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
        write_table(f, &self.samples)?;
        for (service, trends) in &self.trends {
            for (resource, trend) in trends {
                write_trend(f, &format!("{service} {}", resource.name()), trend.as_ref())?;
            }
        }
        if self.deaths > 0 {
            writeln!(f, "✗ a service died {} times", self.deaths)?;
        }
        for line in &self.internal_errors {
            writeln!(f, "✗ internal error: {line}")?;
        }
        if self.unsettled > 0 {
            let (unsettled, seconds) = (self.unsettled, SETTLE_TIMEOUT.as_secs());
            writeln!(
                f,
                "✗ {unsettled} orders were unsettled {seconds} s after the last fault"
            )?;
        }
        writeln!(f, "{}", self.audit)?;
        f.write_str(if self.held {
            "The soak passed."
        } else {
            "The soak failed. A line with ✗ says why, or reservations without an order."
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
        return writeln!(
            f,
            "✗ {name:<18} too few samples; a soak of six minutes has enough at 3 s"
        );
    };
    let mark = if *grows { "✗" } else { "✓" };
    writeln!(
        f,
        "{mark} {name:<18} median {median:.1}; {growth:+.1} over the second half \
         ({tolerated:.1} is tolerated)"
    )
}

/// Writes some of the samples, the last one among them.
fn write_table(f: &mut fmt::Formatter<'_>, samples: &[Sample]) -> fmt::Result {
    let columns = ServiceKind::ALL.map(|service| Resource::ALL.map(|resource| (service, resource)));
    let columns = columns.as_flattened();
    write!(f, "{:>SECONDS_WIDTH$}", "s")?;
    for (service, resource) in columns {
        let (heading, width) = heading(*service, *resource);
        write!(f, " {heading:>width$}")?;
    }
    writeln!(f)?;
    let step = samples.len().div_ceil(MAX_TABLE_LINES).max(1);
    let newest_first: Vec<_> = samples.iter().rev().step_by(step).collect();
    for sample in newest_first.into_iter().rev() {
        write!(f, "{:>SECONDS_WIDTH$.0}", sample.seconds)?;
        for (service, resource) in columns {
            let (_, width) = heading(*service, *resource);
            let decimals = usize::from(*resource == Resource::MemoryMib);
            let value = sample
                .services
                .get(service)
                .and_then(|values| values.get(resource));
            let value = value.copied().unwrap_or_default();
            write!(f, " {value:>width$.decimals$}")?;
        }
        writeln!(f)?;
    }
    Ok(())
}

/// The heading of a column, and the column's width. The first column of a service has the service's
/// name in its heading.
fn heading(service: ServiceKind, resource: Resource) -> (String, usize) {
    let heading = if resource == Resource::ALL[0] {
        format!("{service} {}", resource.name())
    } else {
        resource.name().to_owned()
    };
    let width = heading.len().max(MIN_COLUMN_WIDTH);
    (heading, width)
}
