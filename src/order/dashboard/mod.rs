//! The dashboard: its files, and its requests to the other services.

pub mod assets;
pub mod proxy;
