//! The HTTP routes of orders, for customers and for operators, the service level and the audit.

pub mod audit;
pub mod operators;
pub mod orders;
pub mod retention_steps;
pub mod sla;
