//! The properties that must hold in every state.

use stateright::Property;
use valerix::api::{OrderStatus, PaymentStatus};
use valerix::domain::ledger::ReservationState;

use crate::Protocol;
use crate::changes::is_cancelled;
use crate::retention::Retention;
use crate::services::STOCKED;
use crate::system::{Hazard, System};

pub const STOCK_CONSERVED: &str = "stock is neither oversold nor lost";
pub const CHARGED_ONCE: &str = "no charge is made twice";
pub const SHIPPED_ONCE: &str = "nothing ships twice";
pub const CONFIRMED_HAS_BOTH: &str = "a confirmed order has its goods and its payment";
pub const FAILED_HAS_NEITHER: &str = "a settled failed order has neither goods nor payment";
pub const FORWARD_ONLY: &str = "an order only moves forward, and its end is final";
pub const FINAL_NEVER_LEFT: &str = "a final status is never left";
pub const CANCELLED_FOR_EVER: &str = "a cancelled order stays cancelled";
pub const FULFILLED_FOR_EVER: &str =
    "an order that is fulfilled stays confirmed, and its goods leave";
pub const RECOVERABLE: &str = "one undisturbed attempt settles the order, in every state";
pub const LEAVES_FOR_EVER: &str = "an order that leaves holds nothing, and no row of it comes back";
pub const SETTLED_STAYS_UNCHANGED: &str = "no message that arrives after the end changes anything";

type OrderProperty = Property<Protocol>;

/// The properties to check. With a hazard, only some can hold: a failover that loses commits
/// violates what no protocol can repair, and a foreign reserve delays the order.
pub fn of(hazard: Hazard) -> Vec<OrderProperty> {
    let must_hold: &[&str] = match hazard {
        Hazard::None => &[
            STOCK_CONSERVED,
            CHARGED_ONCE,
            SHIPPED_ONCE,
            CONFIRMED_HAS_BOTH,
            FAILED_HAS_NEITHER,
            FORWARD_ONLY,
            CANCELLED_FOR_EVER,
            FULFILLED_FOR_EVER,
            RECOVERABLE,
            SETTLED_STAYS_UNCHANGED,
        ],
        Hazard::LossyFailover => &[FINAL_NEVER_LEFT, CANCELLED_FOR_EVER, FULFILLED_FOR_EVER],
        Hazard::ForeignReserve => &[
            STOCK_CONSERVED,
            CHARGED_ONCE,
            CONFIRMED_HAS_BOTH,
            FAILED_HAS_NEITHER,
            FORWARD_ONLY,
        ],
        Hazard::Retention => &[
            STOCK_CONSERVED,
            CHARGED_ONCE,
            SHIPPED_ONCE,
            CONFIRMED_HAS_BOTH,
            FAILED_HAS_NEITHER,
            FORWARD_ONLY,
            LEAVES_FOR_EVER,
            SETTLED_STAYS_UNCHANGED,
        ],
    };
    let mut properties = Vec::from(always());
    properties.retain(|property| must_hold.contains(&property.name));
    properties
}

fn always() -> [OrderProperty; 12] {
    [
        Property::always(STOCK_CONSERVED, |_, system: &System| {
            stock_is_conserved(system)
        }),
        Property::always(CHARGED_ONCE, |_, system: &System| {
            system.services.gateway.captured <= 1
        }),
        Property::always(SHIPPED_ONCE, |_, system: &System| {
            system.services.shipped <= 1
        }),
        Property::always(CONFIRMED_HAS_BOTH, |_, system: &System| {
            system.order.status != OrderStatus::Confirmed
                || system.retention.is_leaving()
                || has_both(system)
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
        Property::always(CANCELLED_FOR_EVER, |_, system: &System| {
            system.acknowledged.cancelled_in.is_none() || is_cancelled(system.order)
        }),
        Property::always(FULFILLED_FOR_EVER, |_, system: &System| {
            is_fulfilled_as_acknowledged(system)
        }),
        Property::always(LEAVES_FOR_EVER, |_, system: &System| {
            leaves_for_ever(system)
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

fn stock_is_conserved(system: &System) -> bool {
    let services = &system.services;
    let held = i32::from(services.is(ReservationState::Held));
    services.stock >= 0 && services.stock + services.competitor + held + services.shipped == STOCKED
}

/// Whether the order has its goods and its payment. Goods that are owed may have left already.
fn has_both(system: &System) -> bool {
    let services = &system.services;
    let has_goods = if system.order.fulfilled {
        services.is(ReservationState::Shipped)
    } else {
        services.is(ReservationState::Held)
            || (system.order.shipment_owed && services.is(ReservationState::Shipped))
    };
    has_goods && services.payment == Some(PaymentStatus::Success) && services.gateway.captured == 1
}

fn has_neither(system: &System) -> bool {
    let services = &system.services;
    !services.is(ReservationState::Held)
        && !services.is(ReservationState::Shipped)
        && services.payment != Some(PaymentStatus::Success)
        && services.gateway.captured == 0
}

fn leaves_for_ever(system: &System) -> bool {
    let services = &system.services;
    match system.retention {
        Retention::Off | Retention::Young | Retention::Old => true,
        Retention::Leaving => !services.is(ReservationState::Held),
        Retention::Gone => services.reservation.is_none() && services.payment.is_none(),
    }
}

pub fn is_failed_and_settled(system: &System) -> bool {
    system.order.status == OrderStatus::Failed && system.order.is_settled()
}

/// Whether a shipment that was acknowledged is still owed or has left, and goods that have left are
/// those of a confirmed order.
fn is_fulfilled_as_acknowledged(system: &System) -> bool {
    let order = system.order;
    let leaves = order.shipment_owed || order.fulfilled;
    (!system.acknowledged.shipment || leaves) && (!leaves || order.status == OrderStatus::Confirmed)
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
        && is_fulfilled_as_acknowledged(system)
        && system.forbidden_change.is_none()
}
