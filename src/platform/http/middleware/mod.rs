//! The layers that every request passes, one file each. `platform/server.rs` lists the stack.

pub mod browser_guard;
pub mod framing;
pub mod query_parameters;
pub mod service_auth;
