//! The HTTP server of a service: the application and its middleware, connections, request bodies,
//! problem documents, health checks and the OpenAPI document.

pub mod app;
pub mod bearer_token;
mod connection;
pub mod extract;
pub mod health;
pub mod listener;
pub mod marker;
pub mod metrics;
pub mod middleware;
pub mod openapi;
pub mod operator;
pub mod problem;
pub mod problem_body;
pub mod problem_responses;
pub mod route;
