//! The parts that all services share: HTTP, calls to other services, the database, fault injection,
//! logs, metrics and traces. Nothing here depends on a particular service.

pub mod client;
pub mod db;
pub mod deadline;
pub mod environment;
pub mod fault_injection;
pub mod http;
pub mod observability;
pub mod output;
pub mod plural;
pub mod service;
pub mod shutdown;
pub mod text_table;
pub mod timestamp;
pub mod unknown_variant;
