//! The comparison of orders with the requests of operators and the answers to them.

use std::collections::HashMap;

use uuid::Uuid;

use super::findings::Findings;
use crate::prove::customer::Customer;
use crate::prove::operators::{ActionOutcome, OrderAction};
use crate::prove::outcome::Outcome;
use crate::prove::plan::OperatorAction;
use crate::prove::stored_state::{StoredOrder, StoredState};

/// The actions of operators by the order's id.
pub struct Requested<'a>(HashMap<Uuid, Vec<&'a OrderAction>>);

impl<'a> Requested<'a> {
    pub fn of(customers: &'a [Customer]) -> Self {
        let mut requested: HashMap<Uuid, Vec<&OrderAction>> = HashMap::new();
        for action in customers.iter().flat_map(|customer| &customer.actions) {
            requested.entry(action.order.id).or_default().push(action);
        }
        Self(requested)
    }

    /// Whether a request of an operator may have cancelled the order.
    #[must_use]
    pub fn may_be_cancelled(&self, id: Uuid) -> bool {
        self.may_have_done(id, OperatorAction::Cancel)
    }

    fn may_have_done(&self, id: Uuid, action: OperatorAction) -> bool {
        let actions = self.0.get(&id).into_iter().flatten();
        let same = actions.filter(|requested| requested.action == action);
        let mut tries = same.flat_map(|requested| &requested.tries);
        tries.any(|sent| sent.outcome.may_have_effect())
    }
}

/// Compares each answer to an operator with the tables.
pub fn check_actions(requested: &Requested<'_>, stored: &StoredState, findings: &mut Findings) {
    for action in requested.0.values().flatten() {
        for sent in &action.tries {
            let id = action.order.id;
            if let ActionOutcome::Unexpected(status) = sent.outcome {
                let code = sent.code.as_deref().unwrap_or("no code");
                let action = action.action;
                findings
                    .unexpected
                    .push(format!("{status} {code} for {action} of {id}"));
            }
            match stored.orders.get(&id) {
                Some(order) => check_outcome(action, sent.outcome, order, stored, findings),
                None if says_that_it_exists(sent.outcome) => findings.lost.push(id.to_string()),
                None => {}
            }
        }
    }
}

const fn says_that_it_exists(outcome: ActionOutcome) -> bool {
    matches!(
        outcome,
        ActionOutcome::Done
            | ActionOutcome::ShipmentOwed
            | ActionOutcome::AlreadyFailed
            | ActionOutcome::AlreadyFulfilled
            | ActionOutcome::NotConfirmed
    )
}

/// Checks that the stored order is as the response says.
fn check_outcome(
    action: &OrderAction,
    outcome: ActionOutcome,
    order: &StoredOrder,
    stored: &StoredState,
    findings: &mut Findings,
) {
    let id = action.order.id;
    let keeps_promise = match (action.action, outcome) {
        (OperatorAction::Cancel, ActionOutcome::Done) => {
            if !order.is_cancelled() || keeps_something(id, stored) {
                findings.cancelled_but_kept.push(id.to_string());
            }
            true
        }
        (OperatorAction::Fulfil, ActionOutcome::Done | ActionOutcome::ShipmentOwed) => {
            if !is_fulfilled(id, order, stored) {
                findings.unfulfilled.push(id.to_string());
            }
            true
        }
        (_, ActionOutcome::AlreadyFailed) => order.status == "FAILED" && !order.is_cancelled(),
        (_, ActionOutcome::AlreadyFulfilled) => order.fulfilled || order.shipment_owed,
        // A confirmed order is confirmed until it is cancelled.
        (_, ActionOutcome::NotConfirmed) => {
            action.order.answered != Some(Outcome::Confirmed) || order.is_cancelled()
        }
        (_, ActionOutcome::UnknownOrder) => !action.order.is_stored(),
        _ => true,
    };
    if !keeps_promise {
        let StoredOrder {
            status,
            failure_reason,
            fulfilled,
            ..
        } = order;
        let reason = failure_reason.as_deref().unwrap_or("no reason");
        let action = action.action;
        findings.inconsistent.push(format!(
            "{id}: {action} answered {outcome}, is {status} ({reason}), fulfilled: {fulfilled}"
        ));
    }
}

fn keeps_something(id: Uuid, stored: &StoredState) -> bool {
    stored.reservations.contains_key(&id) || stored.payments.contains_key(&id)
}

fn is_fulfilled(id: Uuid, order: &StoredOrder, stored: &StoredState) -> bool {
    let has_left = stored.reservations.get(&id).is_some_and(|row| row.shipped);
    let is_paid = stored.payments.contains_key(&id);
    order.status == "CONFIRMED" && order.fulfilled && has_left && is_paid
}

/// Checks that a cancelled order keeps nothing, that goods leave only for a confirmed order, and
/// that an operator requested either.
pub fn check_requested(
    id: Uuid,
    order: &StoredOrder,
    requested: &Requested<'_>,
    stored: &StoredState,
    findings: &mut Findings,
) {
    let has_left = stored.reservations.get(&id).is_some_and(|row| row.shipped);
    let leaves = order.fulfilled || order.shipment_owed || has_left;
    if order.is_cancelled() && (leaves || keeps_something(id, stored)) {
        findings.cancelled_but_kept.push(id.to_string());
    } else if leaves && order.status != "CONFIRMED" {
        let status = &order.status;
        findings
            .inconsistent
            .push(format!("{id}: is {status}, but its goods leave"));
    }
    let may_be_fulfilled = requested.may_have_done(id, OperatorAction::Fulfil);
    if order.is_cancelled() && !requested.may_be_cancelled(id) || leaves && !may_be_fulfilled {
        findings.unrequested.push(id.to_string());
    }
}
