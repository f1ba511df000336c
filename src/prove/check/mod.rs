//! Compares what the customers were answered with what is stored. Nothing here does I/O.

mod compare;
mod findings;
#[cfg(test)]
mod tests;

pub use compare::check;
pub use findings::Findings;
