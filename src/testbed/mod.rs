//! Runs the platform as processes of its own: for the demo, the campaigns, the tests and the
//! benchmarks.

pub mod postgres;
pub mod scratch_dir;
pub mod supervisor;
