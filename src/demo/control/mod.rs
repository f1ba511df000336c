//! The control address of the demo: shows the supervised processes, and kills them on request.
//!
//! Only the order service uses it. The demo passes it the address and the token, and the order
//! service forwards the requests of its page.

mod routes;
mod server;

pub use server::{ControlAddress, ControlServer};
