//! The dashboard's files, and its way to the other services.

pub mod assets;
pub mod proxy;
