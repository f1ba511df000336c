//! PostgreSQL: the URL of the database, connection pools, the schema, batches of statements, and
//! errors.

pub mod batcher;
mod classify;
mod connection_manager;
mod database;
mod error;
pub mod metrics;
mod pools;
mod schema;
pub mod spans;
mod stored;
mod timeouts;
mod tls;
mod transaction;
pub mod unnest_query;
mod url;

pub use database::Database;
pub use error::{DatabaseError, observe};
pub use pools::Pools;
pub use schema::{MIN_MAJOR_VERSION, SchemaError, is_ready, migrate};
pub use stored::Stored;
pub use timeouts::{CHANGE_TIMEOUT, LOCK_TIMEOUT, STATEMENT_TIMEOUT, WORK_TIMEOUT};
pub use transaction::run_and_roll_back;
pub use url::{DatabaseUrl, redact};
