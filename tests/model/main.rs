//! Explores the protocol exhaustively: one order, a competitor for the only unit of stock, the
//! request that placed the order, and two workers that take it over. Other searches have one worker
//! and two operators, of whom one cancels and one fulfils. One of these also has retention, which
//! deletes the order days after its end. The network loses, delays and repeats messages.
//!
//! Every decision is made by the services' own code: `domain::saga`, `domain::ledger`,
//! `domain::payment` and `domain::retention`.
//! The model adds only what these rules run on: the order's row with its compare-and-set, the
//! ledger's row and the stock, payment's row and the gateway, and the network.
//!
//! An invariant that holds without the rules too would prove nothing. So each rule that the
//! protocol needs is also removed, and the search must then find a violation (`mutations`).
//! `cargo test --test model -- --nocapture` shows the traces.

mod changes;
mod executor;
mod mutations;
mod network;
mod properties;
mod reachable;
mod retention;
mod rules;
mod services;
mod system;

use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model, Property};

use executor::Actors;
use rules::Rules;
use system::{Action, Hazard, System};

/// The protocol, complete or without one of its rules.
struct Protocol {
    rules: Rules,
    actors: Actors,
    hazard: Hazard,
}

impl Protocol {
    /// Whether a search with operators and a hazard finds the same without the action. An
    /// executor that aborts does what an executor does that stalls for ever. An order that fails
    /// because a competitor has the stock fails as an order that expires does.
    const fn adds_only_states(action: Action) -> bool {
        matches!(action, Action::Abort(_) | Action::CompetitorReserves)
    }
}

impl Model for Protocol {
    type State = System;
    type Action = Action;

    fn init_states(&self) -> Vec<System> {
        // Whether the gateway approves depends only on the order, so it is fixed at the beginning.
        vec![
            System::new(true, self.actors, self.hazard),
            System::new(false, self.actors, self.hazard),
        ]
    }

    fn actions(&self, system: &System, actions: &mut Vec<Action>) {
        system.actions(actions);
        if self.actors == Actors::Operators && self.hazard != Hazard::None {
            actions.retain(|action| !Self::adds_only_states(*action));
        }
    }

    fn next_state(&self, system: &System, action: Action) -> Option<System> {
        let mut next = *system;
        next.perform_action(self.rules, action);
        (next != *system).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = properties::of(self.hazard);
        properties.extend(reachable::of(self.actors, self.hazard));
        properties
    }
}

/// A lower bound for the number of states. The search visits many more, and a model that has lost
/// an action visits far fewer.
const MIN_STATES: usize = 100_000;

#[test]
fn the_protocol_keeps_every_property() {
    assert_properties_hold(Actors::Workers, Hazard::None);
}

#[test]
fn no_final_status_is_left_after_a_failover_that_loses_commits() {
    assert_properties_hold(Actors::Workers, Hazard::LossyFailover);
}

#[test]
fn a_failed_order_holds_nothing_even_after_a_reserve_of_another_client() {
    assert_properties_hold(Actors::Workers, Hazard::ForeignReserve);
}

#[test]
fn the_protocol_keeps_every_property_with_operators() {
    assert_properties_hold(Actors::Operators, Hazard::None);
}

#[test]
fn no_final_status_is_left_with_operators_and_a_failover_that_loses_commits() {
    assert_properties_hold(Actors::Operators, Hazard::LossyFailover);
}

#[test]
fn an_order_that_leaves_holds_nothing_and_no_late_message_brings_a_row_back() {
    assert_properties_hold(Actors::Operators, Hazard::Retention);
}

fn assert_properties_hold(actors: Actors, hazard: Hazard) {
    let started = Instant::now();
    let protocol = Protocol {
        rules: Rules { without: None },
        actors,
        hazard,
    };
    let checker = protocol
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
