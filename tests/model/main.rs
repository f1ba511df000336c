//! The protocol, explored exhaustively: one order, a rival for the only unit of stock, the request
//! that placed the order and two workers that take it over, on a network that loses, delays and
//! repeats whatever it carries.
//!
//! What decides is the service's own code: `domain::saga`, `domain::ledger` and `domain::payment`.
//! The model adds only what those run on: the order's row with its compare-and-set, the ledger's
//! row and the stock, payment's row and the gateway's money, and the network.
//!
//! An invariant that no mutation breaks proves nothing. So each rule that the protocol says it
//! needs is also taken away, and the search must then find the disaster. `cargo test --test model
//! -- --nocapture` shows the traces.

mod network;
mod properties;
mod rules;
mod system;

use std::collections::BTreeSet;
use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model, Property};

use properties::{
    AT_REST, BOOKED_ONCE, CAPTURED_ONCE, CONFIRMED_HAS_BOTH, FAILED_HAS_NEITHER, FINAL_NEVER_LEFT,
    FINAL_STAYS, RECOVERABLE,
};
use rules::{Instead, Rule, Rules};
use system::{Action, Beside, World};

/// The protocol as it is, or without one of its rules.
struct Protocol {
    rules: Rules,
    beside: Beside,
}

impl Protocol {
    const fn as_it_is(beside: Beside) -> Self {
        Self {
            rules: Rules { without: None },
            beside,
        }
    }

    const fn without(rule: Rule, beside: Beside) -> Self {
        Self {
            rules: Rules {
                without: Some(rule),
            },
            beside,
        }
    }
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        // The gateway decides by order: what it will say is settled before it is asked.
        vec![
            World::new(true, self.beside),
            World::new(false, self.beside),
        ]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        world.actions(actions);
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = *world;
        next.act(self.rules, action);
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::of(self.beside)
    }
}

/// The least that the search must have seen: far below what it sees now, far above what a broken
/// model would.
const FEWEST_STATES: usize = 100_000;

#[test]
fn nothing_breaks_the_protocol() {
    nothing_breaks(Beside::Nothing);
}

#[test]
fn a_failover_that_loses_commits_undoes_no_final_status() {
    nothing_breaks(Beside::LossyFailover);
}

#[test]
fn a_strangers_reserve_leaves_nothing_held_by_a_failed_order() {
    nothing_breaks(Beside::StrangersReserve);
}

fn nothing_breaks(beside: Beside) {
    let began = Instant::now();
    let checker = Protocol::as_it_is(beside)
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let (unique, generated) = (checker.unique_state_count(), checker.state_count());
    println!(
        "{unique} states, {generated} steps, depth {}, {:?}",
        checker.max_depth(),
        began.elapsed()
    );
    checker.assert_properties();
    assert!(checker.is_done(), "the search ended early");
    assert!(
        unique >= FEWEST_STATES,
        "only {unique} states: the model has lost something"
    );
}

/// Without the rule, the search finds the disaster. One thread, so that the trace is the shortest.
fn without_it_breaks(rule: Rule, truth: &'static str) {
    without_it_breaks_beside(Beside::Nothing, rule, truth);
}

fn without_it_breaks_beside(beside: Beside, rule: Rule, truth: &'static str) {
    let protocol = Protocol::without(rule, beside);
    let checker = protocol
        .checker()
        .finish_when(HasDiscoveries::AnyOf(BTreeSet::from([truth])))
        .spawn_bfs()
        .join();
    let path = checker.assert_any_discovery(truth);
    println!(
        "without {rule:?} this breaks: '{truth}' ({} states):",
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
    without_it_breaks(Rule::ReleaseTombstone, FAILED_HAS_NEITHER);
    without_it_breaks(Rule::ReleaseTombstone, AT_REST);
}

#[test]
fn a_reservation_needs_its_epoch_against_a_late_release() {
    without_it_breaks(
        Rule::ReservationEpochs(Instead::ReleasedForEver),
        CONFIRMED_HAS_BOTH,
    );
}

#[test]
fn a_reservation_needs_its_epoch_to_be_taken_again_after_a_release() {
    without_it_breaks(
        Rule::ReservationEpochs(Instead::ReleasedForEver),
        RECOVERABLE,
    );
}

#[test]
fn a_reservation_needs_its_epoch_against_a_late_reserve() {
    without_it_breaks(
        Rule::ReservationEpochs(Instead::LastMessageWins),
        FAILED_HAS_NEITHER,
    );
}

#[test]
fn a_takeover_needs_a_new_epoch() {
    without_it_breaks(Rule::NewEpochAtClaim, FINAL_STAYS);
}

#[test]
fn a_failed_order_owes_a_void() {
    without_it_breaks(Rule::VoidOwed, FAILED_HAS_NEITHER);
}

#[test]
fn a_void_needs_its_tombstone() {
    without_it_breaks(Rule::VoidTombstone, FAILED_HAS_NEITHER);
}

#[test]
fn a_charge_needs_its_idempotence() {
    without_it_breaks(Rule::ChargeIdempotence, CAPTURED_ONCE);
}

#[test]
fn an_order_without_stock_owes_a_release() {
    without_it_breaks(Rule::ReleaseOwedOutOfStock, FAILED_HAS_NEITHER);
}

#[test]
fn a_change_needs_its_compare_and_set() {
    without_it_breaks(Rule::CompareAndSet, FINAL_STAYS);
}

#[test]
fn a_release_needs_its_idempotence() {
    without_it_breaks(Rule::ReleaseIdempotence, BOOKED_ONCE);
}

#[test]
fn a_void_needs_a_gateway_that_remembers_it() {
    without_it_breaks(Rule::GatewayRemembersVoid, FAILED_HAS_NEITHER);
}

#[test]
fn a_final_status_needs_a_guard_of_its_own() {
    without_it_breaks_beside(
        Beside::LossyFailover,
        Rule::FinalStatusGuard,
        FINAL_NEVER_LEFT,
    );
}

#[test]
fn a_failed_order_needs_a_release_at_every_epoch() {
    without_it_breaks_beside(
        Beside::StrangersReserve,
        Rule::ReleaseAtEveryEpoch,
        FAILED_HAS_NEITHER,
    );
}
