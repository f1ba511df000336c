//! What every service stands on. Nothing in here knows a service.

pub mod client;
pub mod db;
pub mod deadline;
pub mod environment;
pub mod fault_injection;
pub mod http;
pub mod observability;
pub mod output;
pub mod service;
pub mod shutdown;
pub mod timestamp;
pub mod unknown_variant;
