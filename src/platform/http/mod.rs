//! The HTTP server that every service runs: routes, errors, request bodies, health and the
//! middleware.

pub mod app;
mod connection;
pub mod extract;
pub mod health;
pub mod listener;
pub mod marker;
pub mod metrics;
pub mod middleware;
pub mod openapi;
pub mod problem;
pub mod problem_responses;
pub mod route;
