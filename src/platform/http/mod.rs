//! The HTTP server that every service runs: routes, errors, request bodies, health and the
//! middleware.

mod connection;
pub mod extract;
pub mod health;
mod listener;
pub mod middleware;
pub mod openapi;
pub mod problem;
pub mod server;
