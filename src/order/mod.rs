//! The order service: routes → attempt (drives) → flow (pure rules), store | clients; view: rows → answers.

mod attempt;
mod audit_cache;
mod clients;
mod feed;
pub mod flow;
pub mod idempotency;
mod intake;
mod page;
mod proxy;
pub mod recovery;
mod routes;
pub mod sla;
mod store;
mod stream;
mod view;

pub use page::Dashboard;
pub use routes::{Config, OrderRole};
pub use store::Cursor;
