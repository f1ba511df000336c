//! The comparison of deliveries with what their operators were answered.

use std::collections::HashSet;

use super::findings::Findings;
use crate::platform::plural::count;
use crate::prove::operators::{Delivery, DeliveryOutcome};
use crate::prove::record::CampaignRecord;
use crate::prove::stored_state::{StoredDelivery, StoredState};

pub fn check_deliveries(record: &CampaignRecord, stored: &StoredState, findings: &mut Findings) {
    for delivery in &record.deliveries {
        for sent in &delivery.tries {
            if let DeliveryOutcome::Unexpected(status) = sent.outcome {
                let code = sent.code.as_deref().unwrap_or("no code");
                let planned = &delivery.planned;
                findings
                    .unexpected
                    .push(format!("{status} {code} for {planned:?}"));
            }
        }
        let id = &delivery.planned.delivery_id;
        if let Some(contradiction) = contradiction(delivery, stored.deliveries.get(id)) {
            findings.misdelivered.push(format!("{id}: {contradiction}"));
        }
    }
    check_stocked(record, stored, findings);
}

/// How the stored delivery differs from an answer, or an answer from an earlier one.
fn contradiction(delivery: &Delivery, stored: Option<&StoredDelivery>) -> Option<String> {
    let product_id = &delivery.planned.product_id;
    let is_stored = |quantity: i32| {
        stored.is_some_and(|row| (&row.product_id, row.quantity) == (product_id, quantity))
    };
    // The quantity in the first acknowledgement, and those that may have been delivered.
    let mut acknowledged = None;
    let mut possible = HashSet::new();
    for sent in &delivery.tries {
        let (quantity, outcome) = (sent.quantity, sent.outcome);
        let is_wrong = match outcome {
            DeliveryOutcome::Delivered => acknowledged.is_some() || !is_stored(quantity),
            DeliveryOutcome::DeliveredBefore => {
                !possible.contains(&quantity) || !is_stored(quantity)
            }
            DeliveryOutcome::Mismatch => stored.is_none() || is_stored(quantity),
            DeliveryOutcome::InsufficientStock | DeliveryOutcome::UnknownProduct => {
                acknowledged.is_some()
            }
            DeliveryOutcome::Rejected
            | DeliveryOutcome::Unknown
            | DeliveryOutcome::NoAnswer
            | DeliveryOutcome::Unexpected(_) => false,
        };
        if is_wrong {
            let row = stored.map_or_else(|| "not stored".to_owned(), |row| format!("{row:?}"));
            return Some(format!(
                "{} answered {outcome}, is {row}",
                count(quantity, "unit")
            ));
        }
        if outcome.acknowledges() {
            acknowledged.get_or_insert(quantity);
        }
        if outcome.may_have_effect() {
            possible.insert(quantity);
        }
    }
    let is_explained = stored.is_none_or(|row| possible.contains(&row.quantity));
    (!is_explained).then(|| "is stored, although each request was rejected".to_owned())
}

/// The units stocked of a product are its opening stock and the delivered units. Each delivery is
/// in the plan.
fn check_stocked(record: &CampaignRecord, stored: &StoredState, findings: &mut Findings) {
    let planned: HashSet<&str> = record
        .deliveries
        .iter()
        .map(|delivery| delivery.planned.delivery_id.as_str())
        .collect();
    for (product_id, stocked) in &stored.stocked {
        let opening = record.opening_stock.get(product_id).copied();
        let opening = opening.unwrap_or_default();
        let (mut delivered, mut others) = (0, 0);
        for (id, row) in &stored.deliveries {
            if row.product_id == *product_id {
                let is_planned = planned.contains(id.as_str());
                *(if is_planned {
                    &mut delivered
                } else {
                    &mut others
                }) += row.quantity;
            }
        }
        if *stocked != opening + delivered {
            findings.misdelivered.push(format!(
                "{product_id}: {stocked} stocked, but {opening} at the start and {delivered} \
                 delivered"
            ));
        }
        // The schema records the opening stock as a delivery.
        if others != opening {
            findings.misdelivered.push(format!(
                "{product_id}: {others} in deliveries that nobody sent, but {opening} at the start"
            ));
        }
    }
}
