//! The comparison of answers and tables.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use super::actions::{Requested, check_actions, check_requested};
use super::deliveries::check_deliveries;
use super::findings::Findings;
use crate::prove::customer::{Customer, SentRequest};
use crate::prove::outcome::Outcome;
use crate::prove::record::CampaignRecord;
use crate::prove::stored_state::{StoredOrder, StoredReservation, StoredState};

/// Every try by its trace id.
type Tries<'a> = HashMap<&'a str, (&'a Customer, &'a SentRequest)>;

/// Compares every try of every customer and operator with the tables, and every order with the try
/// that created it.
#[must_use]
pub fn check(record: &CampaignRecord, stored: &StoredState) -> Findings {
    let mut findings = Findings::default();
    let requested = Requested::of(&record.customers);
    let mut tries = Tries::new();
    for customer in &record.customers {
        check_answers_to_key(customer, &mut findings);
        for sent in &customer.tries {
            check_try(customer, sent, &requested, stored, &mut findings);
            tries.insert(&sent.trace_id, (customer, sent));
        }
    }
    for (id, order) in &stored.orders {
        check_origin(*id, order, &tries, &mut findings);
        check_order(*id, order, stored, &mut findings);
        check_requested(*id, order, &requested, stored, &mut findings);
    }
    check_actions(&requested, stored, &mut findings);
    check_deliveries(record, stored, &mut findings);
    findings.duplicated = duplicated_orders(stored);
    check_stock(stored, &mut findings);
    check_payments(stored, &mut findings);
    findings.sort_and_dedup();
    findings
}

/// The last final answer, and a later one.
const CANCELLED_AFTER_CONFIRMATION: (Option<Outcome>, Outcome) =
    (Some(Outcome::Confirmed), Outcome::Cancelled);

/// After a final answer to a key, every later answer to that key must be the same. A try without an
/// answer contradicts nothing.
///
/// There is one exception. If the first request got no final answer, later answers show the present
/// state of the order: it may be confirmed, and later cancelled.
fn check_answers_to_key(customer: &Customer, findings: &mut Findings) {
    let mut final_answer = None;
    let mut shows_present_state = false;
    for sent in &customer.tries {
        let is_change =
            shows_present_state && (final_answer, sent.outcome) == CANCELLED_AFTER_CONFIRMATION;
        let is_answer = sent.outcome.acknowledges() || sent.outcome == Outcome::InFlight;
        match final_answer {
            Some(_) if is_change => final_answer = Some(sent.outcome),
            Some(first) if is_answer && first != sent.outcome => {
                let key = customer.order.key.as_deref().unwrap_or("none");
                let later = sent.outcome;
                findings
                    .inconsistent
                    .push(format!("key {key}: answered {first}, then {later}"));
            }
            None if sent.outcome.is_final() => final_answer = Some(sent.outcome),
            // This try may have created the order, and got no final answer.
            None => shows_present_state |= sent.outcome != Outcome::Rejected,
            Some(_) => {}
        }
    }
}

/// Checks that the order with the id in the response is as the response says.
fn check_try(
    customer: &Customer,
    sent: &SentRequest,
    requested: &Requested<'_>,
    stored: &StoredState,
    findings: &mut Findings,
) {
    let SentRequest {
        trace_id,
        outcome,
        order_id,
        code,
    } = sent;
    if let Outcome::Unexpected(status) = outcome {
        let (code, planned) = (code.as_deref().unwrap_or("no code"), &customer.order);
        findings
            .unexpected
            .push(format!("{status} {code} for {planned:?}"));
    }
    let stored_order = order_id.and_then(|id| Some((id, stored.orders.get(&id)?)));
    let Some((id, order)) = stored_order else {
        if outcome.acknowledges() {
            let no_id = || format!("no id, trace {trace_id}");
            findings
                .lost
                .push(order_id.map_or_else(no_id, |id| id.to_string()));
        }
        return;
    };
    if !customer.created(order, sent) {
        findings
            .inconsistent
            .push(format!("{id}: sent to a customer who did not place it"));
    } else if *outcome == Outcome::Confirmed
        && order.is_cancelled()
        && requested.may_be_cancelled(id)
    {
        // The answer was true when it was sent.
    } else if let Some(contradiction) = contradiction(*outcome, order, stored) {
        findings.inconsistent.push(format!("{id}: {contradiction}"));
    }
}

/// How the stored order differs from an answer.
fn contradiction(outcome: Outcome, order: &StoredOrder, stored: &StoredState) -> Option<String> {
    let StoredOrder {
        status,
        failure_reason,
        product_id,
        ..
    } = order;
    let final_state = outcome.final_state()?;
    if final_state != (status.as_str(), failure_reason.as_deref()) {
        let reason = failure_reason.as_deref().unwrap_or("no reason");
        return Some(format!("answered {outcome}, is {status} ({reason})"));
    }
    let exists = stored.stocked.contains_key(product_id);
    (outcome == Outcome::UnknownProduct && exists)
        .then(|| format!("answered {outcome}, but {product_id} exists"))
}

/// Every order belongs to a try that was answered with the order's id, or whose answer allows an
/// order.
fn check_origin(id: Uuid, order: &StoredOrder, tries: &Tries<'_>, findings: &mut Findings) {
    let origin = order
        .trace_id
        .as_deref()
        .and_then(|trace_id| tries.get(trace_id));
    let Some((Customer { order: planned, .. }, sent)) = origin else {
        return findings.unexplained.push(id.to_string());
    };
    if sent.outcome == Outcome::Rejected {
        let code = sent.code.as_deref().unwrap_or("no code");
        findings
            .rejected_but_stored
            .push(format!("{id}: answered 503 {code}"));
    } else if planned.key != order.key || sent.order_id.is_some_and(|other| other != id) {
        findings.unexplained.push(id.to_string());
    }
    let StoredOrder {
        product_id,
        quantity,
        ..
    } = order;
    if (&planned.product_id, planned.quantity) != (product_id, *quantity) {
        findings.inconsistent.push(format!(
            "{id}: is for {quantity} {product_id}, not for {planned:?}"
        ));
    }
}

fn check_order(id: Uuid, order: &StoredOrder, stored: &StoredState, findings: &mut Findings) {
    match order.status.as_str() {
        "CONFIRMED" => {
            let expected = StoredReservation {
                product_id: order.product_id.clone(),
                quantity: order.quantity,
                shipped: order.fulfilled,
            };
            if stored.reservations.get(&id) != Some(&expected) {
                findings.unreserved.push(id.to_string());
            }
            if !stored.payments.contains_key(&id) {
                findings.uncharged.push(id.to_string());
            }
        }
        "FAILED" => {}
        _ => findings.unfinished.push(id.to_string()),
    }
}

/// Returns each key, or try without a key, that created more than one order.
fn duplicated_orders(stored: &StoredState) -> Vec<String> {
    let mut origins: BTreeMap<String, u32> = BTreeMap::new();
    for order in stored.orders.values() {
        let origin = match (&order.key, &order.trace_id) {
            (Some(key), _) => format!("key {key}"),
            (None, Some(trace_id)) => format!("trace {trace_id}"),
            (None, None) => continue,
        };
        *origins.entry(origin).or_default() += 1;
    }
    origins
        .into_iter()
        .filter(|(_, orders)| *orders > 1)
        .map(|(origin, _)| origin)
        .collect()
}

fn check_stock(stored: &StoredState, findings: &mut Findings) {
    let mut sold: BTreeMap<&str, i64> = BTreeMap::new();
    for row in stored.reservations.values() {
        *sold.entry(&row.product_id).or_default() += i64::from(row.quantity);
    }
    for (product_id, quantity) in sold {
        let stocked = stored.stocked.get(product_id).copied().unwrap_or_default();
        if quantity > i64::from(stocked) {
            findings.oversold.push(product_id.to_owned());
        }
    }
}

fn check_payments(stored: &StoredState, findings: &mut Findings) {
    for (id, payments) in &stored.payments {
        let order = stored.orders.get(id);
        let is_confirmed = order.is_some_and(|order| order.status == "CONFIRMED");
        if *payments > 1 || !is_confirmed {
            findings.overcharged.push(id.to_string());
        }
    }
}
