//! Explores the protocol exhaustively: one order, a competitor for the only unit of stock, the
//! request that placed the order, and two workers that take it over. The network loses, delays and
//! repeats messages.
//!
//! Every decision is made by the services' own code: `domain::saga`, `domain::ledger` and
//! `domain::payment`.
//! The model adds only what these rules run on: the order's row with its compare-and-set, the
//! ledger's row and the stock, payment's row and the gateway, and the network.
//!
//! An invariant that holds without the rules too would prove nothing. So each rule that the
//! protocol needs is also removed, and the search must then find a violation. `cargo test --test
//! model -- --nocapture` shows the traces.

mod network;
mod properties;
mod rules;
mod system;

use std::collections::BTreeSet;
use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model, Property};

use properties::{
    CHARGED_ONCE, CONFIRMED_HAS_BOTH, FAILED_HAS_NEITHER, FINAL_NEVER_LEFT, FORWARD_ONLY,
    RECOVERABLE, SETTLED_STAYS_UNCHANGED, STOCK_CONSERVED,
};
use rules::{Rule, Rules, Substitute};
use system::{Action, Hazard, System};

/// The protocol, complete or without one of its rules.
struct Protocol {
    rules: Rules,
    hazard: Hazard,
}

impl Protocol {
    const fn complete(hazard: Hazard) -> Self {
        Self {
            rules: Rules { without: None },
            hazard,
        }
    }

    const fn without(rule: Rule, hazard: Hazard) -> Self {
        Self {
            rules: Rules {
                without: Some(rule),
            },
            hazard,
        }
    }
}

impl Model for Protocol {
    type State = System;
    type Action = Action;

    fn init_states(&self) -> Vec<System> {
        // Whether the gateway approves depends only on the order, so it is fixed at the beginning.
        vec![
            System::new(true, self.hazard),
            System::new(false, self.hazard),
        ]
    }

    fn actions(&self, system: &System, actions: &mut Vec<Action>) {
        system.actions(actions);
    }

    fn next_state(&self, system: &System, action: Action) -> Option<System> {
        let mut next = *system;
        next.perform_action(self.rules, action);
        (next != *system).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::of(self.hazard)
    }
}

/// A lower bound for the number of states. The search visits many more, and a model that has lost
/// an action visits far fewer.
const MIN_STATES: usize = 100_000;

#[test]
fn the_protocol_keeps_every_property() {
    assert_properties_hold(Hazard::None);
}

#[test]
fn no_final_status_is_left_after_a_failover_that_loses_commits() {
    assert_properties_hold(Hazard::LossyFailover);
}

#[test]
fn a_failed_order_holds_nothing_even_after_a_reserve_of_another_client() {
    assert_properties_hold(Hazard::ForeignReserve);
}

fn assert_properties_hold(hazard: Hazard) {
    let started = Instant::now();
    let checker = Protocol::complete(hazard)
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let (unique, generated) = (checker.unique_state_count(), checker.state_count());
    println!(
        "{unique} states, {generated} steps, depth {}, {:?}",
        checker.max_depth(),
        started.elapsed()
    );
    checker.assert_properties();
    assert!(checker.is_done(), "the search stopped early");
    assert!(
        unique >= MIN_STATES,
        "only {unique} states: the model has lost an action"
    );
}

/// Checks that the search finds a violation of a property when the protocol lacks a rule.
fn assert_needed(rule: Rule, property: &'static str) {
    assert_needed_with(Hazard::None, rule, property);
}

/// The search uses one thread, so that it finds the shortest trace.
fn assert_needed_with(hazard: Hazard, rule: Rule, property: &'static str) {
    let protocol = Protocol::without(rule, hazard);
    let checker = protocol
        .checker()
        .finish_when(HasDiscoveries::AnyOf(BTreeSet::from([property])))
        .spawn_bfs()
        .join();
    let path = checker.assert_any_discovery(property);
    println!(
        "without {rule:?}, '{property}' is violated ({} states):",
        checker.unique_state_count()
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
        Hazard::LossyFailover,
        Rule::FinalStatusGuard,
        FINAL_NEVER_LEFT,
    );
}

#[test]
fn a_failed_order_needs_a_release_at_every_epoch() {
    assert_needed_with(
        Hazard::ForeignReserve,
        Rule::ReleaseAtEveryEpoch,
        FAILED_HAS_NEITHER,
    );
}
