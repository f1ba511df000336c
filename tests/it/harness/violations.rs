//! The violated invariants of an audit.

use valerix::audit::Audit;

/// Returns the name of each violated invariant, and the number of its violations.
pub fn violated(audit: &Audit) -> Vec<(&str, i64)> {
    let violated = audit.invariants.iter();
    let violated = violated.filter(|invariant| invariant.violations > 0);
    violated
        .map(|invariant| (invariant.name.as_str(), invariant.violations))
        .collect()
}
