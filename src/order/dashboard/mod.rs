//! The dashboard: its files, and its requests to the other services and to the demo.

pub mod assets;
pub mod demo;
pub mod proxy;
pub mod story;
