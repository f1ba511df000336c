//! The properties that must hold in every state, and the states that must be reachable.

use stateright::Property;
use valerix::api::{OrderStatus, PaymentStatus};
use valerix::domain::ledger::ReservationState;

use crate::Protocol;
use crate::network::Message;
use crate::system::{Hazard, STOCKED, System};

pub const STOCK_CONSERVED: &str = "stock is neither oversold nor lost";
pub const CHARGED_ONCE: &str = "no charge is made twice";
pub const CONFIRMED_HAS_BOTH: &str = "a confirmed order has its stock and its payment";
pub const FAILED_HAS_NEITHER: &str = "a settled failed order has neither stock nor payment";
pub const FORWARD_ONLY: &str = "an order only moves forward, and its end is final";
pub const FINAL_NEVER_LEFT: &str = "a final status is never left";
pub const RECOVERABLE: &str = "one undisturbed attempt settles the order, in every state";
pub const SETTLED_STAYS_UNCHANGED: &str = "no message that arrives after the end changes anything";

type OrderProperty = Property<Protocol>;

/// The properties to check. With a hazard, only some can hold: a failover that loses commits
/// violates what no protocol can repair, and a foreign reserve delays the order.
pub fn of(hazard: Hazard) -> Vec<OrderProperty> {
    let (must_hold, must_be_reachable): (&[&str], usize) = match hazard {
        Hazard::None => (
            &[
                STOCK_CONSERVED,
                CHARGED_ONCE,
                CONFIRMED_HAS_BOTH,
                FAILED_HAS_NEITHER,
                FORWARD_ONLY,
                RECOVERABLE,
                SETTLED_STAYS_UNCHANGED,
            ],
            usize::MAX,
        ),
        Hazard::LossyFailover => (&[FINAL_NEVER_LEFT], 1),
        Hazard::ForeignReserve => (
            &[
                STOCK_CONSERVED,
                CHARGED_ONCE,
                CONFIRMED_HAS_BOTH,
                FAILED_HAS_NEITHER,
                FORWARD_ONLY,
            ],
            1,
        ),
    };
    let checked = always()
        .into_iter()
        .filter(|property| must_hold.contains(&property.name));
    checked
        .chain(sometimes().into_iter().take(must_be_reachable))
        .collect()
}

fn always() -> [OrderProperty; 8] {
    [
        Property::always(STOCK_CONSERVED, |_, system: &System| {
            stock_is_conserved(system)
        }),
        Property::always(CHARGED_ONCE, |_, system: &System| {
            system.gateway.captured <= 1
        }),
        Property::always(CONFIRMED_HAS_BOTH, |_, system: &System| {
            system.order.status != OrderStatus::Confirmed || has_both(system)
        }),
        Property::always(FAILED_HAS_NEITHER, |_, system: &System| {
            !is_failed_and_settled(system) || has_neither(system)
        }),
        Property::always(FORWARD_ONLY, |_, system: &System| {
            system.forbidden_change.is_none()
        }),
        Property::always(FINAL_NEVER_LEFT, |_, system: &System| {
            system
                .forbidden_change
                .is_none_or(|(from, to)| !from.is_final() || from == to)
        }),
        Property::always(RECOVERABLE, |protocol: &Protocol, system: &System| {
            is_settled_correctly(&system.recovered(protocol.rules))
        }),
        Property::always(
            SETTLED_STAYS_UNCHANGED,
            |protocol: &Protocol, system: &System| {
                system
                    .recovered(protocol.rules)
                    .is_unaffected_by_late_messages(protocol.rules)
            },
        ),
    ]
}

/// States that must be reachable. Without them, a search of almost no states would pass.
fn sometimes() -> [OrderProperty; 8] {
    [
        Property::sometimes("the request confirms its order", |_, system: &System| {
            system.order.status == OrderStatus::Confirmed && system.order.epoch == 1
        }),
        Property::sometimes(
            "the last takeover confirms the order",
            |_, system: &System| {
                system.order.status == OrderStatus::Confirmed && system.order.epoch == 3
            },
        ),
        Property::sometimes("an order fails and settles", |_, system: &System| {
            is_failed_and_settled(system)
        }),
        Property::sometimes(
            "a charge of a failed order is refunded",
            |_, system: &System| {
                is_failed_and_settled(system) && system.payment == Some(PaymentStatus::Refunded)
            },
        ),
        Property::sometimes(
            "a takeover finds the reservation of an earlier attempt",
            |_, system: &System| finds(system, ReservationState::Held, |sent, row| sent > row),
        ),
        Property::sometimes(
            "a late reserve arrives after its order has failed",
            |_, system: &System| {
                is_failed_and_settled(system)
                    && finds(system, ReservationState::Released, |sent, row| sent <= row)
            },
        ),
        Property::sometimes(
            "a late release finds a newer reservation",
            |_, system: &System| {
                system.order.status == OrderStatus::Confirmed
                    && system
                        .sent
                        .messages()
                        .any(|message| matches!(message, Message::Release(_)))
            },
        ),
        Property::sometimes(
            "a late charge arrives after its order has failed",
            |_, system: &System| {
                system.payment == Some(PaymentStatus::Voided)
                    && system
                        .sent
                        .messages()
                        .any(|message| message == Message::Charge)
            },
        ),
    ]
}

fn stock_is_conserved(system: &System) -> bool {
    system.stock >= 0 && system.stock + system.competitor + i32::from(system.is_held()) == STOCKED
}

fn has_both(system: &System) -> bool {
    system.is_held()
        && system.payment == Some(PaymentStatus::Success)
        && system.gateway.captured == 1
}

fn has_neither(system: &System) -> bool {
    !system.is_held()
        && system.payment != Some(PaymentStatus::Success)
        && system.gateway.captured == 0
}

fn is_failed_and_settled(system: &System) -> bool {
    system.order.status == OrderStatus::Failed && system.order.is_settled()
}

fn is_settled_correctly(system: &System) -> bool {
    let order_ended = match system.order.status {
        OrderStatus::Confirmed => has_both(system),
        OrderStatus::Failed => has_neither(system),
        OrderStatus::Pending | OrderStatus::PendingInventory | OrderStatus::PendingPayment => false,
    };
    order_ended
        && system.order.is_settled()
        && stock_is_conserved(system)
        && system.forbidden_change.is_none()
}

/// Whether a reserve that was sent would find such a row if it arrived now.
fn finds(
    system: &System,
    state: ReservationState,
    epochs: fn(sent: i32, row: i32) -> bool,
) -> bool {
    let Some(row) = system.reservation.filter(|row| row.state == state) else {
        return false;
    };
    system
        .sent
        .messages()
        .any(|message| matches!(message, Message::Reserve(epoch) if epochs(epoch, row.epoch)))
}
