//! The result of anything that can fail.

/// Any error ends the benchmark with its message.
pub type Fallible<T> = Result<T, Box<dyn std::error::Error>>;
