//! PostgreSQL: its address, the connection pools, the schema, batches of statements, and errors.

mod address;
pub mod batcher;
mod error;
mod host;
pub mod metrics;
mod pool;
mod schema;
pub mod spans;
mod stored;
mod timeouts;
mod tls;
mod transaction;
pub mod unnest_query;
mod url;

pub use address::redact;
pub use error::{DatabaseError, observe};
pub use pool::{Database, Pools};
pub use schema::{SchemaError, is_ready, migrate};
pub use stored::Stored;
pub use timeouts::{CHANGE_TIMEOUT, LOCK_TIMEOUT, STATEMENT_TIMEOUT, WORK_TIMEOUT};
pub use transaction::rolled_back;
pub use url::DatabaseUrl;
