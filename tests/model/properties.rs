//! What must hold in every state, and what must be reachable for that to mean anything.

use stateright::Property;
use valerix::api::{OrderStatus, PaymentStatus};
use valerix::domain::ledger::Hold;

use crate::Protocol;
use crate::network::Message;
use crate::system::{Beside, STOCKED, World};

pub const BOOKED_ONCE: &str = "stock is neither oversold nor lost";
pub const CAPTURED_ONCE: &str = "no charge is made twice";
pub const CONFIRMED_HAS_BOTH: &str = "a confirmed order has its stock and its payment";
pub const FAILED_HAS_NEITHER: &str = "a settled failed order has neither stock nor payment";
pub const FINAL_STAYS: &str = "an order only moves forward, and its end is final";
pub const FINAL_NEVER_LEFT: &str = "a final status is never left";
pub const RECOVERABLE: &str = "one undisturbed attempt ends the order, whatever came before";
pub const AT_REST: &str = "nothing that arrives after the end changes anything";

type Truth = Property<Protocol>;

/// A failover that loses commits breaks more than a protocol can mend, and a stranger's reserve
/// holds an order up: then only some of these can hold.
pub fn of(beside: Beside) -> Vec<Truth> {
    let (must_hold, must_be_reachable): (&[&str], usize) = match beside {
        Beside::Nothing => (
            &[
                BOOKED_ONCE,
                CAPTURED_ONCE,
                CONFIRMED_HAS_BOTH,
                FAILED_HAS_NEITHER,
                FINAL_STAYS,
                RECOVERABLE,
                AT_REST,
            ],
            usize::MAX,
        ),
        Beside::LossyFailover => (&[FINAL_NEVER_LEFT], 1),
        Beside::StrangersReserve => (
            &[
                BOOKED_ONCE,
                CAPTURED_ONCE,
                CONFIRMED_HAS_BOTH,
                FAILED_HAS_NEITHER,
                FINAL_STAYS,
            ],
            1,
        ),
    };
    let kept = always()
        .into_iter()
        .filter(|truth| must_hold.contains(&truth.name));
    kept.chain(sometimes().into_iter().take(must_be_reachable))
        .collect()
}

fn always() -> [Truth; 8] {
    [
        Property::always(BOOKED_ONCE, |_, world: &World| booked_once(world)),
        Property::always(CAPTURED_ONCE, |_, world: &World| {
            world.gateway.captured <= 1
        }),
        Property::always(CONFIRMED_HAS_BOTH, |_, world: &World| {
            world.order.status != OrderStatus::Confirmed || has_both(world)
        }),
        Property::always(FAILED_HAS_NEITHER, |_, world: &World| {
            !is_failed_and_settled(world) || has_neither(world)
        }),
        Property::always(FINAL_STAYS, |_, world: &World| {
            world.forbidden_move.is_none()
        }),
        Property::always(FINAL_NEVER_LEFT, |_, world: &World| {
            world
                .forbidden_move
                .is_none_or(|(from, to)| !from.is_final() || from == to)
        }),
        Property::always(RECOVERABLE, |protocol: &Protocol, world: &World| {
            ended_well(&world.recovered(protocol.rules))
        }),
        Property::always(AT_REST, |protocol: &Protocol, world: &World| {
            world.recovered(protocol.rules).is_at_rest(protocol.rules)
        }),
    ]
}

/// Without these, a search of nearly nothing would pass.
fn sometimes() -> [Truth; 8] {
    [
        Property::sometimes("the request confirms its order", |_, world: &World| {
            world.order.status == OrderStatus::Confirmed && world.order.epoch == 1
        }),
        Property::sometimes(
            "the last takeover confirms the order",
            |_, world: &World| {
                world.order.status == OrderStatus::Confirmed && world.order.epoch == 3
            },
        ),
        Property::sometimes("an order fails and settles", |_, world: &World| {
            is_failed_and_settled(world)
        }),
        Property::sometimes(
            "a charge of an order that failed is given back",
            |_, world: &World| {
                is_failed_and_settled(world) && world.payment == Some(PaymentStatus::Refunded)
            },
        ),
        Property::sometimes(
            "a takeover finds the hold of an earlier attempt",
            |_, world: &World| finds(world, Hold::Held, |sent, row| sent > row),
        ),
        Property::sometimes(
            "a late reserve finds that its order gave up",
            |_, world: &World| {
                is_failed_and_settled(world)
                    && finds(world, Hold::Released, |sent, row| sent <= row)
            },
        ),
        Property::sometimes("a late release finds a newer hold", |_, world: &World| {
            world.order.status == OrderStatus::Confirmed
                && world
                    .sent
                    .messages()
                    .any(|message| matches!(message, Message::Release(_)))
        }),
        Property::sometimes(
            "a late charge finds that its order gave up",
            |_, world: &World| {
                world.payment == Some(PaymentStatus::Voided)
                    && world
                        .sent
                        .messages()
                        .any(|message| message == Message::Charge)
            },
        ),
    ]
}

fn booked_once(world: &World) -> bool {
    world.stock >= 0 && world.stock + world.rival + i32::from(world.is_held()) == STOCKED
}

fn has_both(world: &World) -> bool {
    world.is_held() && world.payment == Some(PaymentStatus::Success) && world.gateway.captured == 1
}

fn has_neither(world: &World) -> bool {
    !world.is_held() && world.payment != Some(PaymentStatus::Success) && world.gateway.captured == 0
}

fn is_failed_and_settled(world: &World) -> bool {
    world.order.status == OrderStatus::Failed && world.order.is_settled()
}

fn ended_well(world: &World) -> bool {
    let order_ended = match world.order.status {
        OrderStatus::Confirmed => has_both(world),
        OrderStatus::Failed => has_neither(world),
        OrderStatus::Pending | OrderStatus::PendingInventory | OrderStatus::PendingPayment => false,
    };
    order_ended && world.order.is_settled() && booked_once(world) && world.forbidden_move.is_none()
}

/// A reserve was sent that meets such a row when it arrives, which it may do next.
fn finds(world: &World, hold: Hold, epochs: fn(sent: i32, row: i32) -> bool) -> bool {
    let Some(row) = world.reservation.filter(|row| row.hold == hold) else {
        return false;
    };
    world
        .sent
        .messages()
        .any(|message| matches!(message, Message::Reserve(epoch) if epochs(epoch, row.epoch)))
}
