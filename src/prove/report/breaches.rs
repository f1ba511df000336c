//! The promises and invariants that broke in a campaign.

use crate::audit::Audit;
use crate::platform::plural::count;
use crate::prove::check::Findings;

/// Everything that broke, each in a few words.
pub fn breaches(findings: &Findings, audit: &Audit, unsettled: i64) -> Vec<String> {
    let mut breaches = Vec::new();
    for (name, found) in findings.by_name() {
        if !found.is_empty() {
            breaches.push(format!("{} {name}", found.len()));
        }
    }
    for invariant in &audit.invariants {
        if invariant.violations > 0 {
            breaches.push(format!("invariant {} violated", invariant.name));
        }
    }
    let reservations = audit.orders.reservations_without_order;
    if reservations > 0 {
        breaches.push(format!(
            "{} without an order",
            count(reservations, "reservation")
        ));
    }
    if unsettled > 0 {
        breaches.push(format!("{} unsettled", count(unsettled, "order")));
    }
    if breaches.is_empty() && !audit.clean {
        breaches.push("the audit is not clean".to_owned());
    }
    breaches
}
