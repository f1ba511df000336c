//! Why a campaign could not be run.

use crate::audit::AuditError;
use crate::testbed::error::TestbedError;
use crate::testbed::postgres::PostgresError;

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    #[error(transparent)]
    Testbed(#[from] TestbedError),
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error("the campaign's database: {0}")]
    Database(#[from] tokio_postgres::Error),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}
