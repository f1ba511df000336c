//! Why services could not be started.

use super::postgres::PostgresError;
use super::service_kind::ServiceKind;
use crate::platform::db::SchemaError;

/// Why the services do not run.
#[derive(Debug, thiserror::Error)]
pub enum TestbedError {
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    #[error(transparent)]
    Schema(#[from] SchemaError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// `last_lines` is what the service printed last.
    #[error("the {kind} service ended or was not ready within 30 s; its last lines:\n{last_lines}")]
    NotReady {
        kind: ServiceKind,
        last_lines: String,
    },
}
