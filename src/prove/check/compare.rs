//! The comparison of answers and tables.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use super::findings::Findings;
use crate::prove::customer::{Customer, Try};
use crate::prove::outcome::Outcome;
use crate::prove::stored_state::{StoredOrder, StoredState};

/// Every try by its trace id.
type Tries<'a> = HashMap<&'a str, (&'a Customer, &'a Try)>;

/// Compares every try of every customer with the tables, and every order with the try that created
/// it.
#[must_use]
pub fn check(customers: &[Customer], stored: &StoredState) -> Findings {
    let mut findings = Findings::default();
    let mut tries = Tries::new();
    for customer in customers {
        check_answers_to_key(customer, &mut findings);
        for attempt in &customer.tries {
            check_try(customer, attempt, stored, &mut findings);
            tries.insert(&attempt.trace_id, (customer, attempt));
        }
    }
    for (id, order) in &stored.orders {
        check_origin(*id, order, &tries, &mut findings);
        check_order(*id, order, stored, &mut findings);
    }
    findings.doubled = doubled_orders(stored);
    check_stock(stored, &mut findings);
    check_payments(stored, &mut findings);
    findings.sort_and_dedup();
    findings
}

/// After a final answer to a key, every later answer to that key must be the same. A try without an
/// answer contradicts nothing.
fn check_answers_to_key(customer: &Customer, findings: &mut Findings) {
    let mut final_answer = None;
    for attempt in &customer.tries {
        let is_answer = attempt.outcome.acknowledges() || attempt.outcome == Outcome::InFlight;
        match final_answer {
            Some(first) if is_answer && first != attempt.outcome => {
                let key = customer.request.key.as_deref().unwrap_or("none");
                let later = attempt.outcome;
                findings
                    .contradicted
                    .push(format!("key {key}: answered {first}, then {later}"));
            }
            None if attempt.outcome.is_final() => final_answer = Some(attempt.outcome),
            _ => {}
        }
    }
}

/// What the response says must be true of the order with the id in the response.
fn check_try(customer: &Customer, attempt: &Try, stored: &StoredState, findings: &mut Findings) {
    let Try {
        trace_id,
        outcome,
        order_id,
        code,
    } = attempt;
    if let Outcome::Unexpected(status) = outcome {
        let (code, request) = (code.as_deref().unwrap_or("no code"), &customer.request);
        findings
            .unexpected
            .push(format!("{status} {code} for {request:?}"));
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
    if !customer.may_have_created(order, attempt) {
        findings
            .contradicted
            .push(format!("{id}: sent to a customer who did not place it"));
    } else if let Some(contradiction) = contradiction(*outcome, order, stored) {
        findings.contradicted.push(format!("{id}: {contradiction}"));
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
    let Some((Customer { request, .. }, attempt)) = origin else {
        return findings.unasked.push(id.to_string());
    };
    if attempt.outcome == Outcome::Refused {
        let code = attempt.code.as_deref().unwrap_or("no code");
        findings
            .refused_but_stored
            .push(format!("{id}: answered 503 {code}"));
    } else if request.key != order.key || attempt.order_id.is_some_and(|other| other != id) {
        findings.unasked.push(id.to_string());
    }
    let StoredOrder {
        product_id,
        quantity,
        ..
    } = order;
    if (&request.product_id, request.quantity) != (product_id, *quantity) {
        findings.contradicted.push(format!(
            "{id}: is for {quantity} {product_id}, not for {request:?}"
        ));
    }
}

fn check_order(id: Uuid, order: &StoredOrder, stored: &StoredState, findings: &mut Findings) {
    match order.status.as_str() {
        "CONFIRMED" => {
            let reservation = stored.reservations.get(&id);
            if reservation != Some(&(order.product_id.clone(), order.quantity)) {
                findings.oversold.push(id.to_string());
            }
            if !stored.payments.contains_key(&id) {
                findings.uncharged.push(id.to_string());
            }
        }
        "FAILED" => {}
        _ => findings.unfinished.push(id.to_string()),
    }
}

/// The keys of several orders; for orders without a key, the tries of several orders.
fn doubled_orders(stored: &StoredState) -> Vec<String> {
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
    let mut held: BTreeMap<&str, i64> = BTreeMap::new();
    for (product_id, quantity) in stored.reservations.values() {
        *held.entry(product_id).or_default() += i64::from(*quantity);
    }
    for (product_id, quantity) in held {
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
