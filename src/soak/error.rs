//! Why a soak could not be run.

use crate::prove::ProveError;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum SoakError {
    #[error(transparent)]
    Cluster(#[from] ProveError),
    #[error("a service's /metrics has no {0}")]
    MissingMetric(&'static str),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}
