//! Removes one rule at a time. The search must then find a violation of the property that the rule
//! is needed for.

use std::collections::BTreeSet;
use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};

use crate::Protocol;
use crate::executor::Actors;
use crate::properties::{
    CANCELLED_FOR_EVER, CHARGED_ONCE, CONFIRMED_HAS_BOTH, FAILED_HAS_NEITHER, FINAL_NEVER_LEFT,
    FORWARD_ONLY, FULFILLED_FOR_EVER, LEAVES_FOR_EVER, RECOVERABLE, SETTLED_STAYS_UNCHANGED,
    SHIPPED_ONCE, STOCK_CONSERVED,
};
use crate::rules::{Rule, Rules, Substitute};
use crate::system::Hazard;

/// Checks that the search finds a violation of a property when the protocol lacks a rule.
fn assert_needed(rule: Rule, property: &'static str) {
    assert_needed_with(Actors::Workers, Hazard::None, rule, property);
}

/// The search uses one thread, so that it finds the shortest trace.
fn assert_needed_with(actors: Actors, hazard: Hazard, rule: Rule, property: &'static str) {
    let started = Instant::now();
    let protocol = Protocol {
        rules: Rules {
            without: Some(rule),
        },
        actors,
        hazard,
    };
    let checker = protocol
        .checker()
        .finish_when(HasDiscoveries::AnyOf(BTreeSet::from([property])))
        .spawn_bfs()
        .join();
    let path = checker.assert_any_discovery(property);
    println!(
        "without {rule:?}, '{property}' is violated ({} states, {:?}):",
        checker.unique_state_count(),
        started.elapsed()
    );
    for (_, action) in path.clone().into_vec() {
        println!(
            "  {}",
            action.map_or_else(|| "...".to_owned(), |action| format!("{action:?}"))
        );
    }
    println!("  {:?}", path.last_state());
}

#[test]
fn a_release_needs_its_tombstone() {
    assert_needed(Rule::ReleaseTombstone, FAILED_HAS_NEITHER);
    assert_needed(Rule::ReleaseTombstone, SETTLED_STAYS_UNCHANGED);
}

#[test]
fn a_reservation_needs_its_epoch_against_a_late_release() {
    assert_needed(
        Rule::ReservationEpochs(Substitute::PlainTombstone),
        CONFIRMED_HAS_BOTH,
    );
}

#[test]
fn a_reservation_needs_its_epoch_to_be_repeated_after_a_release() {
    assert_needed(
        Rule::ReservationEpochs(Substitute::PlainTombstone),
        RECOVERABLE,
    );
}

#[test]
fn a_reservation_needs_its_epoch_against_a_late_reserve() {
    assert_needed(
        Rule::ReservationEpochs(Substitute::LastMessageWins),
        FAILED_HAS_NEITHER,
    );
}

#[test]
fn a_takeover_needs_a_new_epoch() {
    assert_needed(Rule::NewEpochAtClaim, FORWARD_ONLY);
}

#[test]
fn a_failed_order_must_owe_a_refund() {
    assert_needed(Rule::RefundOwed, FAILED_HAS_NEITHER);
}

#[test]
fn a_void_needs_its_tombstone() {
    assert_needed(Rule::VoidTombstone, FAILED_HAS_NEITHER);
}

#[test]
fn a_charge_must_be_idempotent() {
    assert_needed(Rule::ChargeIdempotence, CHARGED_ONCE);
}

#[test]
fn an_order_without_enough_stock_must_owe_a_release() {
    assert_needed(Rule::ReleaseOwedOutOfStock, FAILED_HAS_NEITHER);
}

#[test]
fn a_change_of_an_order_needs_a_compare_and_set() {
    assert_needed(Rule::CompareAndSet, FORWARD_ONLY);
}

#[test]
fn a_release_must_be_idempotent() {
    assert_needed(Rule::ReleaseIdempotence, STOCK_CONSERVED);
}

#[test]
fn a_void_needs_a_gateway_that_declines_later_charges() {
    assert_needed(Rule::GatewayDeclinesAfterVoid, FAILED_HAS_NEITHER);
}

#[test]
fn a_final_status_needs_its_own_guard() {
    assert_needed_with(
        Actors::Workers,
        Hazard::LossyFailover,
        Rule::FinalStatusGuard,
        FINAL_NEVER_LEFT,
    );
}

#[test]
fn a_failed_order_needs_a_release_at_every_epoch() {
    assert_needed_with(
        Actors::Workers,
        Hazard::ForeignReserve,
        Rule::ReleaseAtEveryEpoch,
        FAILED_HAS_NEITHER,
    );
}

/// As `assert_needed`, with operators.
fn assert_needed_with_operators(rule: Rule, property: &'static str) {
    assert_needed_with(Actors::Operators, Hazard::None, rule, property);
}

#[test]
fn a_cancellation_needs_a_new_epoch() {
    assert_needed_with_operators(Rule::NewEpochAtCancel, FORWARD_ONLY);
}

#[test]
fn a_cancelled_order_must_owe_a_refund() {
    assert_needed_with_operators(Rule::RefundOwedByCancelled, FAILED_HAS_NEITHER);
}

#[test]
fn a_shipment_must_be_recorded_before_the_call() {
    assert_needed_with_operators(Rule::ShipmentRecordedFirst, FAILED_HAS_NEITHER);
}

#[test]
fn a_shipment_that_is_owed_must_forbid_a_cancellation() {
    assert_needed_with_operators(Rule::ShipmentForbidsCancel, FULFILLED_FOR_EVER);
    assert_needed_with_operators(Rule::ShipmentForbidsCancel, FAILED_HAS_NEITHER);
}

#[test]
fn a_change_by_operators_needs_a_compare_and_set() {
    assert_needed_with_operators(Rule::CompareAndSetOfOperators, FORWARD_ONLY);
}

#[test]
fn a_ship_must_be_idempotent() {
    assert_needed_with_operators(Rule::ShipIdempotence, SHIPPED_ONCE);
}

#[test]
fn the_statement_that_cancels_needs_its_own_guard_of_a_shipment() {
    assert_needed_with(
        Actors::Operators,
        Hazard::LossyFailover,
        Rule::ShipmentGuardOfCancel,
        FINAL_NEVER_LEFT,
    );
}

#[test]
fn a_cancelled_order_needs_the_guard_of_a_final_status() {
    assert_needed_with(
        Actors::Operators,
        Hazard::LossyFailover,
        Rule::FinalStatusGuard,
        CANCELLED_FOR_EVER,
    );
}

/// As `assert_needed`, with operators and retention.
fn assert_needed_with_retention(rule: Rule, property: &'static str) {
    assert_needed_with(Actors::Operators, Hazard::Retention, rule, property);
}

#[test]
fn retention_needs_late_messages_to_be_refused() {
    assert_needed_with_retention(Rule::LateMessagesRefused, FAILED_HAS_NEITHER);
    assert_needed_with_retention(Rule::LateMessagesRefused, LEAVES_FOR_EVER);
}

#[test]
fn retention_needs_messages_to_be_dated_by_their_attempt() {
    assert_needed_with_retention(Rule::MessagesDatedByAttempt, LEAVES_FOR_EVER);
}

#[test]
fn retention_needs_the_sessions_of_stalled_processes_to_end() {
    assert_needed_with_retention(Rule::SessionsEnd, LEAVES_FOR_EVER);
}
