use std::collections::HashMap;

use uuid::Uuid;

use super::{Findings, check};
use crate::prove::customer::{Customer, SentRequest};
use crate::prove::outcome::Outcome;
use crate::prove::plan::PlannedOrder;
use crate::prove::record::CampaignRecord;
use crate::prove::stored_state::{StoredDelivery, StoredOrder, StoredReservation, StoredState};

pub(super) const ID: Uuid = Uuid::from_u128(1);
const OTHER_ID: Uuid = Uuid::from_u128(2);

/// The outcome of a try, and the order's id in the response.
pub(super) type Answer = (Outcome, Option<Uuid>);

pub(super) const NO_ANSWER: Answer = (Outcome::NoAnswer, None);
pub(super) const REJECTED: Answer = (Outcome::Rejected, None);
pub(super) const CONFIRMED: Answer = (Outcome::Confirmed, Some(ID));
pub(super) const PENDING: Answer = (Outcome::Pending, Some(ID));
const DECLINED: Answer = (Outcome::Declined, Some(ID));
const OUT_OF_STOCK: Answer = (Outcome::OutOfStock, Some(ID));
const UNKNOWN_PRODUCT: Answer = (Outcome::UnknownProduct, Some(ID));
const UNKNOWN: Answer = (Outcome::Unknown, Some(ID));
const IN_FLIGHT: Answer = (Outcome::InFlight, Some(ID));

/// The nth try of the customer has the trace id n, counted from 0.
fn customer(key: Option<&str>, answers: &[Answer]) -> Customer {
    let tries = answers.iter().enumerate();
    let tries = tries.map(|(number, (outcome, order_id))| SentRequest {
        trace_id: number.to_string(),
        outcome: *outcome,
        order_id: *order_id,
        code: None,
    });
    let order = PlannedOrder {
        product_id: "P".into(),
        quantity: 1,
        key: key.map(str::to_owned),
        replays: false,
        operators: None,
    };
    Customer {
        order,
        tries: tries.collect(),
        actions: Vec::new(),
    }
}

/// A customer with the key `k`.
pub(super) fn with_key(answers: &[Answer]) -> Customer {
    customer(Some("k"), answers)
}

fn without_key(answers: &[Answer]) -> Customer {
    customer(None, answers)
}

pub(super) fn order(status: &str, reason: Option<&str>) -> StoredOrder {
    StoredOrder {
        status: status.into(),
        failure_reason: reason.map(str::to_owned),
        key: Some("k".into()),
        product_id: "P".into(),
        quantity: 1,
        trace_id: Some("0".into()),
        shipment_owed: false,
        fulfilled: false,
    }
}

pub(super) fn held() -> StoredReservation {
    StoredReservation {
        product_id: "P".into(),
        quantity: 1,
        shipped: false,
    }
}

pub(super) fn delivery(product_id: &str, quantity: i32) -> StoredDelivery {
    StoredDelivery {
        product_id: product_id.into(),
        quantity,
    }
}

/// The record of these customers, with an opening stock of one unit of P.
pub(super) fn record(customers: &[Customer]) -> CampaignRecord {
    CampaignRecord {
        customers: customers.to_vec(),
        deliveries: Vec::new(),
        opening_stock: HashMap::from([("P".into(), 1)]),
    }
}

/// One confirmed order, created by the try 0 with the key `k`.
pub(super) fn confirmed_state() -> StoredState {
    StoredState {
        orders: HashMap::from([(ID, order("CONFIRMED", None))]),
        payments: HashMap::from([(ID, 1)]),
        reservations: HashMap::from([(ID, held())]),
        deliveries: HashMap::from([("opening".into(), delivery("P", 1))]),
        stocked: HashMap::from([("P".into(), 1)]),
    }
}

/// One confirmed order, created by the nth try without a key.
fn confirmed_state_without_key(try_number: u32) -> StoredState {
    let mut stored = confirmed_state();
    let order = stored.orders.get_mut(&ID).unwrap();
    (order.key, order.trace_id) = (None, Some(try_number.to_string()));
    stored
}

/// One order that failed for the reason, created by the try 0 with the key `k`.
pub(super) fn failed_state(reason: &str) -> StoredState {
    StoredState {
        orders: HashMap::from([(ID, order("FAILED", Some(reason)))]),
        ..StoredState::default()
    }
}

pub(super) fn findings(customer: Customer, stored: &StoredState) -> Findings {
    check(&record(&[customer]), stored)
}

#[track_caller]
fn assert_clean(customer: &Customer, stored: &StoredState) {
    let findings = findings(customer.clone(), stored);
    assert!(findings.is_clean(), "{customer:?}: {findings:?}");
}

#[test]
fn an_order_that_is_what_its_customer_was_answered_is_clean() {
    for answer in [CONFIRMED, PENDING, UNKNOWN] {
        assert_clean(&with_key(&[answer]), &confirmed_state());
        assert_clean(&without_key(&[answer]), &confirmed_state_without_key(0));
    }
    for (answer, reason) in [
        (DECLINED, "payment-declined"),
        (OUT_OF_STOCK, "insufficient-stock"),
        (UNKNOWN_PRODUCT, "unknown-product"),
    ] {
        assert_clean(&with_key(&[answer]), &failed_state(reason));
    }
}

#[test]
fn an_order_of_a_try_without_an_answer_is_clean() {
    assert_clean(&with_key(&[NO_ANSWER]), &confirmed_state());
    assert_clean(&without_key(&[NO_ANSWER]), &confirmed_state_without_key(0));
    assert_clean(
        &without_key(&[REJECTED, NO_ANSWER]),
        &confirmed_state_without_key(1),
    );
}

#[test]
fn any_try_with_the_same_key_may_have_created_the_order() {
    assert_clean(&with_key(&[NO_ANSWER, CONFIRMED]), &confirmed_state());
    assert_clean(&with_key(&[UNKNOWN, IN_FLIGHT]), &confirmed_state());
    let unknown_other = (Outcome::Unknown, Some(OTHER_ID));
    assert_clean(
        &with_key(&[NO_ANSWER, unknown_other, PENDING]),
        &confirmed_state(),
    );
}

#[test]
fn an_unknown_outcome_may_leave_no_order() {
    assert_clean(&with_key(&[UNKNOWN]), &StoredState::default());
    assert_clean(&without_key(&[UNKNOWN]), &StoredState::default());
}

#[test]
fn an_order_of_a_rejected_try_is_found() {
    let expected = [format!("{ID}: answered 503 no code")];
    for later in [&[][..], &[REJECTED], &[NO_ANSWER]] {
        let answers = [&[REJECTED], later].concat();
        let found = findings(without_key(&answers), &confirmed_state_without_key(0));
        assert_eq!(found.rejected_but_stored, expected);
        let found = findings(with_key(&answers), &confirmed_state());
        assert_eq!(found.rejected_but_stored, expected);
    }
    // The second answer is true, but the first was not.
    let found = findings(with_key(&[REJECTED, CONFIRMED]), &confirmed_state());
    assert_eq!(found.rejected_but_stored, expected);
}

#[test]
fn a_rejected_try_before_the_one_that_created_the_order_is_clean() {
    assert_clean(
        &without_key(&[REJECTED, CONFIRMED]),
        &confirmed_state_without_key(1),
    );
}

#[test]
fn an_order_that_no_try_explains_is_found() {
    let found = check(&record(&[]), &confirmed_state());
    assert_eq!(found.unexplained, [ID.to_string()]);
    let mut without_trace = confirmed_state();
    without_trace.orders.get_mut(&ID).unwrap().trace_id = None;
    let found = findings(with_key(&[NO_ANSWER]), &without_trace);
    assert_eq!(found.unexplained, [ID.to_string()]);
    // The try has a key, and the order has none.
    let found = findings(with_key(&[NO_ANSWER]), &confirmed_state_without_key(0));
    assert_eq!(found.unexplained, [ID.to_string()]);
}

#[test]
fn an_order_whose_try_was_answered_with_another_id_is_found() {
    let unknown_other = [(Outcome::Unknown, Some(OTHER_ID))];
    let found = findings(without_key(&unknown_other), &confirmed_state_without_key(0));
    assert_eq!(found.unexplained, [ID.to_string()]);
    let found = findings(with_key(&unknown_other), &confirmed_state());
    assert_eq!(found.unexplained, [ID.to_string()]);
}

#[test]
fn an_answer_with_the_id_of_another_customers_order_is_found() {
    let mut other_customer = without_key(&[CONFIRMED]);
    other_customer.tries[0].trace_id = "other".into();
    let found = check(
        &record(&[with_key(&[CONFIRMED]), other_customer]),
        &confirmed_state(),
    );
    let expected = format!("{ID}: sent to a customer who did not place it");
    assert_eq!(found.inconsistent, [expected]);
}

#[test]
fn the_answer_to_a_key_may_change_from_pending_but_not_from_a_final_answer() {
    assert_clean(&with_key(&[PENDING, CONFIRMED]), &confirmed_state());
    assert_clean(&with_key(&[PENDING, PENDING]), &confirmed_state());
    assert_clean(
        &with_key(&[CONFIRMED, NO_ANSWER, CONFIRMED]),
        &confirmed_state(),
    );
    assert_clean(
        &with_key(&[PENDING, DECLINED]),
        &failed_state("payment-declined"),
    );
    for later in [PENDING, DECLINED, IN_FLIGHT] {
        let found = findings(with_key(&[CONFIRMED, later]), &confirmed_state()).inconsistent;
        assert!(
            found.iter().any(|found| found.starts_with("key k:")),
            "{found:?}"
        );
    }
}

/// Changes the stored state of a confirmed order, and returns what the check finds.
fn findings_after<T>(change: impl FnOnce(&mut StoredState) -> T) -> Findings {
    let mut stored = confirmed_state();
    change(&mut stored);
    findings(with_key(&[CONFIRMED]), &stored)
}

#[test]
fn each_kind_of_wrong_stored_state_is_found() {
    let id = [ID.to_string()];
    let declined = || order("FAILED", Some("payment-declined"));

    let removed = findings_after(|stored| stored.orders.remove(&ID));
    assert_eq!(removed.lost, id);
    let failed = findings_after(|stored| stored.orders.insert(ID, declined()));
    assert_eq!(failed.inconsistent.len(), 1);
    let pending = findings_after(|stored| stored.orders.insert(ID, order("PENDING", None)));
    assert_eq!(pending.unfinished, id);
    let second = findings_after(|stored| stored.orders.insert(OTHER_ID, declined()));
    assert_eq!(second.duplicated, ["key k"]);
    let other_quantity = findings_after(|stored| stored.orders.get_mut(&ID).unwrap().quantity = 2);
    assert_eq!(other_quantity.inconsistent.len(), 1);

    let paid_twice = findings_after(|stored| stored.payments.insert(ID, 2));
    assert_eq!(paid_twice.overcharged, id);
    let paid_for_nothing = findings_after(|stored| stored.payments.insert(OTHER_ID, 1));
    assert_eq!(paid_for_nothing.overcharged, [OTHER_ID.to_string()]);
    let unpaid = findings_after(|stored| stored.payments.remove(&ID));
    assert_eq!(unpaid.uncharged, id);

    let not_held = findings_after(|stored| stored.reservations.remove(&ID));
    assert_eq!(not_held.unreserved, id);
    let not_stocked = findings_after(|stored| stored.stocked.insert("P".into(), 0));
    assert_eq!(not_stocked.oversold, ["P"]);
}

#[test]
fn two_orders_of_one_try_without_a_key_are_found() {
    let mut stored = confirmed_state_without_key(0);
    let second = StoredOrder {
        key: None,
        ..order("FAILED", Some("payment-declined"))
    };
    stored.orders.insert(OTHER_ID, second);
    assert_eq!(
        findings(without_key(&[NO_ANSWER]), &stored).duplicated,
        ["trace 0"]
    );
}

#[test]
fn an_answer_that_differs_from_the_stored_order_is_found() {
    for wrong in [DECLINED, OUT_OF_STOCK, UNKNOWN_PRODUCT] {
        let found = findings(with_key(&[wrong]), &confirmed_state());
        assert_eq!(found.inconsistent.len(), 1);
    }
    let wrong_reason = findings(with_key(&[OUT_OF_STOCK]), &failed_state("payment-declined"));
    assert_eq!(wrong_reason.inconsistent.len(), 1);

    let mut with_product = failed_state("unknown-product");
    with_product.stocked.insert("P".into(), 1);
    let product_exists = findings(with_key(&[UNKNOWN_PRODUCT]), &with_product);
    assert_eq!(product_exists.inconsistent.len(), 1);
}

#[test]
fn a_response_that_the_api_does_not_allow_is_found() {
    let internal_error = with_key(&[(Outcome::Unexpected(500), None)]);
    assert_eq!(
        findings(internal_error, &confirmed_state())
            .unexpected
            .len(),
        1
    );
    let pending_without_id = with_key(&[(Outcome::Pending, None)]);
    assert_eq!(
        findings(pending_without_id, &confirmed_state()).lost.len(),
        1
    );
}

#[test]
fn the_last_answer_is_the_last_acknowledgement_or_else_the_last_try() {
    let last_outcome = |answers| with_key(answers).last_answer().map(|last| last.outcome);
    assert_eq!(last_outcome(&[PENDING, NO_ANSWER]), Some(Outcome::Pending));
    assert_eq!(
        last_outcome(&[REJECTED, NO_ANSWER]),
        Some(Outcome::NoAnswer)
    );
}
