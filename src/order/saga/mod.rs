//! Drives orders through the saga of [`crate::domain::saga`].

pub mod executor;
pub mod recovery;
