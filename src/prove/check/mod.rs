//! Compares what customers and operators were answered with what is stored. Nothing here does I/O.

mod actions;
mod compare;
mod deliveries;
#[cfg(test)]
mod delivery_tests;
mod findings;
#[cfg(test)]
mod operator_tests;
#[cfg(test)]
mod tests;

pub use compare::check;
pub use findings::Findings;
