//! Why a campaign could not be run.

use std::io;
use std::time::Duration;

use tokio_postgres::error::SqlState;

use crate::audit::AuditError;
use crate::platform::db::DatabaseError;
use crate::testbed::error::TestbedError;
use crate::testbed::postgres::PostgresError;

/// The errors of a server that stops, starts, or has no free session.
const AWAY_STATES: [SqlState; 4] = [
    SqlState::ADMIN_SHUTDOWN,
    SqlState::CRASH_SHUTDOWN,
    SqlState::CANNOT_CONNECT_NOW,
    SqlState::TOO_MANY_CONNECTIONS,
];

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
    #[error(
        "the campaign's database did not come back within {} s, so there is no verdict: {cause}",
        timeout.as_secs()
    )]
    DatabaseAway { timeout: Duration, cause: Box<Self> },
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl ProveError {
    /// Whether the database was away. It is asked again then: the campaign restarts it on purpose.
    #[must_use]
    pub fn is_database_away(&self) -> bool {
        match self {
            Self::Database(error) => is_away(error),
            Self::Audit(error) => matches!(
                error,
                AuditError::Unreachable { .. }
                    | AuditError::Unreadable(
                        DatabaseError::Unreachable(_) | DatabaseError::ConnectionLost(_)
                    )
            ),
            _ => false,
        }
    }
}

/// Whether the server could not be reached, or has ended the session.
pub fn is_away(error: &tokio_postgres::Error) -> bool {
    match (error.code(), std::error::Error::source(error)) {
        (Some(state), _) => AWAY_STATES.contains(state),
        (None, Some(source)) => source.is::<io::Error>(),
        (None, None) => error.is_closed(),
    }
}
