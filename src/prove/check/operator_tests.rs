//! Tests of the comparison of orders with the answers to operators.

use super::tests::{
    Answer, CONFIRMED, ID, NO_ANSWER, PENDING, REJECTED, confirmed_state, failed_state, findings,
    with_key,
};
use crate::prove::customer::Customer;
use crate::prove::operators::{ActionOutcome, ActionTry, KnownOrder, OrderAction};
use crate::prove::outcome::Outcome;
use crate::prove::plan::OperatorAction;
use crate::prove::stored_state::StoredState;

const CANCELLED: Answer = (Outcome::Cancelled, Some(ID));

/// A customer that was answered with this, on whose order an operator acted with these outcomes.
fn after_action(
    answers: &[Answer],
    action: OperatorAction,
    outcomes: &[ActionOutcome],
) -> Customer {
    let tries = outcomes.iter().map(|outcome| ActionTry {
        outcome: *outcome,
        code: None,
    });
    let answered = answers.iter().find(|(_, id)| id.is_some());
    let action = OrderAction {
        action,
        order: KnownOrder {
            id: ID,
            answered: answered.map(|(outcome, _)| *outcome),
        },
        tries: tries.collect(),
    };
    Customer {
        actions: vec![action],
        ..with_key(answers)
    }
}

fn cancelled(answers: &[Answer], outcomes: &[ActionOutcome]) -> Customer {
    after_action(answers, OperatorAction::Cancel, outcomes)
}

fn fulfilled(answers: &[Answer], outcomes: &[ActionOutcome]) -> Customer {
    after_action(answers, OperatorAction::Fulfil, outcomes)
}

fn cancelled_state() -> StoredState {
    let mut stored = confirmed_state();
    let opening = (stored.deliveries, stored.stocked);
    stored = failed_state("cancelled");
    (stored.deliveries, stored.stocked) = opening;
    stored
}

fn fulfilled_state() -> StoredState {
    let mut stored = confirmed_state();
    stored.orders.get_mut(&ID).unwrap().fulfilled = true;
    stored.reservations.get_mut(&ID).unwrap().shipped = true;
    stored
}

#[track_caller]
fn assert_clean(customer: &Customer, stored: &StoredState) {
    let found = findings(customer.clone(), stored);
    assert!(found.is_clean(), "{customer:?}: {found:?}");
}

#[test]
fn a_cancelled_order_that_keeps_nothing_is_clean() {
    let done = [ActionOutcome::NoAnswer, ActionOutcome::Done];
    for answers in [
        &[PENDING][..],
        &[CONFIRMED],
        &[CONFIRMED, CONFIRMED],
        &[CANCELLED],
        &[PENDING, CANCELLED],
    ] {
        assert_clean(&cancelled(answers, &done), &cancelled_state());
    }
    for unanswered in [ActionOutcome::NoAnswer, ActionOutcome::Unknown] {
        assert_clean(&cancelled(&[CONFIRMED], &[unanswered]), &cancelled_state());
        assert_clean(&cancelled(&[CONFIRMED], &[unanswered]), &confirmed_state());
    }
}

#[test]
fn a_fulfilled_order_whose_goods_have_left_is_clean() {
    for outcomes in [
        &[ActionOutcome::Done][..],
        &[ActionOutcome::NotConfirmed, ActionOutcome::ShipmentOwed],
        &[ActionOutcome::NoAnswer],
    ] {
        assert_clean(&fulfilled(&[PENDING], outcomes), &fulfilled_state());
    }
    let mut both = fulfilled(&[CONFIRMED], &[ActionOutcome::Done]);
    let refused = cancelled(&[CONFIRMED], &[ActionOutcome::AlreadyFulfilled]);
    both.actions.extend(refused.actions);
    assert_clean(&both, &fulfilled_state());
}

#[test]
fn a_cancelled_order_that_keeps_stock_or_money_is_found() {
    let id = [ID.to_string()];
    let done = || cancelled(&[PENDING], &[ActionOutcome::Done]);
    // It is still confirmed, or its goods have left.
    for stored in [confirmed_state(), fulfilled_state()] {
        assert_eq!(findings(done(), &stored).cancelled_but_kept, id);
    }
    let mut held = cancelled_state();
    held.reservations = confirmed_state().reservations;
    let mut left = cancelled_state();
    left.reservations = fulfilled_state().reservations;
    let mut paid = cancelled_state();
    paid.payments.insert(ID, 1);
    let mut both = cancelled_state();
    both.orders.get_mut(&ID).unwrap().fulfilled = true;
    for stored in [held, left, paid, both] {
        assert_eq!(findings(done(), &stored).cancelled_but_kept, id);
        // Nobody was answered that it is cancelled.
        let unanswered = cancelled(&[PENDING], &[ActionOutcome::NoAnswer]);
        assert_eq!(findings(unanswered, &stored).cancelled_but_kept, id);
    }
}

#[test]
fn an_order_that_is_not_fulfilled_as_promised_is_found() {
    let mut unpaid = fulfilled_state();
    unpaid.payments.clear();
    let mut not_left = fulfilled_state();
    not_left.reservations = confirmed_state().reservations;
    let mut owed = confirmed_state();
    owed.orders.get_mut(&ID).unwrap().shipment_owed = true;
    for stored in [confirmed_state(), cancelled_state(), unpaid, not_left, owed] {
        for outcome in [ActionOutcome::Done, ActionOutcome::ShipmentOwed] {
            let found = findings(fulfilled(&[PENDING], &[outcome]), &stored);
            assert_eq!(found.unfulfilled, [ID.to_string()], "{stored:?}");
        }
    }
}

#[test]
fn a_change_that_no_operator_asked_for_is_found() {
    let id = [ID.to_string()];
    let rejected = [ActionOutcome::Rejected, ActionOutcome::Rejected];
    for stored in [cancelled_state(), fulfilled_state()] {
        assert_eq!(findings(with_key(&[PENDING]), &stored).unrequested, id);
    }
    let found = findings(cancelled(&[CONFIRMED], &rejected), &cancelled_state());
    assert_eq!(found.unrequested, id);
    // The customer was answered that it is confirmed.
    assert_eq!(found.inconsistent.len(), 1);
    let found = findings(fulfilled(&[CONFIRMED], &rejected), &fulfilled_state());
    assert_eq!(found.unrequested, id);
    // It was asked for something else.
    let found = findings(fulfilled(&[PENDING], &rejected), &cancelled_state());
    assert_eq!(found.unrequested, id);
}

#[test]
fn a_refusal_without_its_reason_is_found() {
    let cancel = |outcome| cancelled(&[CONFIRMED], &[outcome]);
    for (customer, stored) in [
        (cancel(ActionOutcome::AlreadyFailed), confirmed_state()),
        (cancel(ActionOutcome::AlreadyFulfilled), confirmed_state()),
        (cancel(ActionOutcome::UnknownOrder), confirmed_state()),
        (
            fulfilled(&[CONFIRMED], &[ActionOutcome::NotConfirmed]),
            confirmed_state(),
        ),
    ] {
        let found = findings(customer.clone(), &stored).inconsistent;
        assert_eq!(found.len(), 1, "{customer:?}: {found:?}");
    }
    let declined = failed_state("payment-declined");
    let refused = cancelled(&[PENDING], &[ActionOutcome::AlreadyFailed]);
    assert_clean(&refused, &declined);
    let pending = fulfilled(&[PENDING], &[ActionOutcome::NotConfirmed]);
    assert_clean(&pending, &confirmed_state());
    let unknown = (Outcome::Unknown, Some(ID));
    let not_stored = cancelled(&[unknown], &[ActionOutcome::UnknownOrder]);
    assert_clean(&not_stored, &confirmed_state());
}

#[test]
fn an_order_that_an_operator_was_answered_about_exists() {
    let unknown = (Outcome::Unknown, Some(ID));
    for (outcome, lost) in [
        (ActionOutcome::Done, 1),
        (ActionOutcome::AlreadyFailed, 1),
        (ActionOutcome::UnknownOrder, 0),
        (ActionOutcome::NoAnswer, 0),
    ] {
        let found = findings(cancelled(&[unknown], &[outcome]), &StoredState::default());
        assert_eq!(found.lost.len(), lost, "{outcome}");
    }
}

#[test]
fn an_operator_response_that_the_api_does_not_allow_is_found() {
    let customer = cancelled(&[CONFIRMED], &[ActionOutcome::Unexpected(500)]);
    assert_eq!(findings(customer, &confirmed_state()).unexpected.len(), 1);
}

#[test]
fn a_key_repeats_a_201_but_shows_a_cancellation_after_an_unfinished_first_try() {
    let done = [ActionOutcome::Done];
    let clean = |answers: &[_]| assert_clean(&cancelled(answers, &done), &cancelled_state());
    clean(&[CONFIRMED, CONFIRMED]);
    clean(&[NO_ANSWER, CONFIRMED, CANCELLED]);
    clean(&[PENDING, CONFIRMED, CANCELLED]);
    for answers in [
        [CONFIRMED, CANCELLED].as_slice(),
        &[REJECTED, CONFIRMED, CANCELLED],
        &[CANCELLED, CONFIRMED],
        &[PENDING, CANCELLED, PENDING],
    ] {
        let found = findings(cancelled(answers, &done), &cancelled_state()).inconsistent;
        assert_eq!(found.len(), 1, "{answers:?}: {found:?}");
    }
}

#[test]
fn goods_that_have_left_count_as_sold() {
    let mut stored = fulfilled_state();
    stored.stocked.insert("P".into(), 0);
    let found = findings(fulfilled(&[CONFIRMED], &[ActionOutcome::Done]), &stored);
    assert_eq!(found.oversold, ["P"]);
}
