//! Why a soak could not be run.

use crate::audit::AuditError;
use crate::prove::ProveError;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum SoakError {
    #[error(transparent)]
    Cluster(#[from] ProveError),
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error("the soak's database: {0}")]
    Database(#[from] tokio_postgres::Error),
    #[error("a service's /metrics has no {0}")]
    MissingMetric(&'static str),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}
