//! The requests of one step of the history.

use super::latency_histogram::{LatencyHistogram, PackedHistogram};

/// While it is current, a step has a histogram. Later it is packed, with its figures computed.
pub enum Step {
    Open(LatencyHistogram),
    Closed {
        packed: PackedHistogram,
        summary: Summary,
    },
}

/// The service level of one step of the history.
#[derive(Debug, Clone, Copy, Default)]
pub struct Summary {
    pub requests: u64,
    pub average_ms: f64,
    pub p99_ms: f64,
}

impl Summary {
    pub fn of(histogram: &LatencyHistogram) -> Self {
        Self {
            requests: histogram.requests(),
            average_ms: histogram.average_ms(),
            p99_ms: histogram.quantile_ms(0.99),
        }
    }
}

impl Default for Step {
    fn default() -> Self {
        Self::Open(LatencyHistogram::default())
    }
}

impl Step {
    pub fn histogram(&self) -> LatencyHistogram {
        let mut copy = LatencyHistogram::default();
        match self {
            Self::Open(histogram) => copy.add(histogram),
            Self::Closed { packed, .. } => copy.add_packed(packed),
        }
        copy
    }

    pub fn summary(&self) -> Summary {
        match self {
            Self::Open(histogram) => Summary::of(histogram),
            Self::Closed { summary, .. } => *summary,
        }
    }

    /// Adds requests. Opens a step that was closed.
    pub fn add(&mut self, requests: &LatencyHistogram) {
        let mut all = self.histogram();
        all.add(requests);
        *self = Self::Open(all);
    }

    pub fn close(&mut self) {
        if let Self::Open(histogram) = self {
            *self = Self::Closed {
                packed: histogram.pack(),
                summary: Summary::of(histogram),
            };
        }
    }
}
