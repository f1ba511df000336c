//! The HTTP routes of orders, the service level and the audit.

pub mod audit;
pub mod orders;
pub mod sla;
