//! The states that must be reachable. Without them, a search of almost no states would pass.

use stateright::Property;
use valerix::api::{OrderStatus, PaymentStatus};
use valerix::domain::ledger::ReservationState;
use valerix::domain::saga::{Refusal, Step};

use crate::Protocol;
use crate::changes::is_cancelled;
use crate::executor::{Actors, Executor, ExecutorState};
use crate::network::Message;
use crate::properties::is_failed_and_settled;
use crate::retention::Retention;
use crate::system::{Hazard, System};

type OrderProperty = Property<Protocol>;

pub fn of(actors: Actors, hazard: Hazard) -> Vec<OrderProperty> {
    match (actors, hazard) {
        (Actors::Workers, Hazard::None) => by_workers(),
        (Actors::Operators, Hazard::None) => by_operators(),
        (_, Hazard::LossyFailover | Hazard::ForeignReserve) => vec![confirmed()],
        (_, Hazard::Retention) => by_retention(),
    }
}

fn confirmed() -> OrderProperty {
    Property::sometimes("the request confirms its order", |_, system: &System| {
        system.order.status == OrderStatus::Confirmed && system.order.epoch == 1
    })
}

fn by_workers() -> Vec<OrderProperty> {
    vec![
        confirmed(),
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
                is_failed_and_settled(system)
                    && system.services.payment == Some(PaymentStatus::Refunded)
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
                system.services.payment == Some(PaymentStatus::Voided)
                    && system
                        .sent
                        .messages()
                        .any(|message| message == Message::Charge)
            },
        ),
    ]
}

fn by_operators() -> Vec<OrderProperty> {
    vec![
        confirmed(),
        Property::sometimes(
            "an order that the request has confirmed is cancelled and settles",
            |_, system: &System| {
                is_cancelled_and_settled(system)
                    && system.acknowledged.cancelled_in == Some(OrderStatus::Confirmed)
                    && system.order.epoch == 2
                    && system.services.payment == Some(PaymentStatus::Refunded)
            },
        ),
        Property::sometimes(
            "the reserve of a cancelled order is late and finds the tombstone",
            |_, system: &System| {
                is_cancelled_and_settled(system)
                    && system.executor(Executor::Request).waits_for(Step::Reserve)
                    && finds(system, ReservationState::Released, |sent, row| sent < row)
            },
        ),
        Property::sometimes(
            "the charge of a cancelled order is late and finds the void",
            |_, system: &System| {
                is_cancelled_and_settled(system)
                    && system.executor(Executor::Request).waits_for(Step::Charge)
                    && system.services.payment == Some(PaymentStatus::Voided)
            },
        ),
        Property::sometimes("an order is fulfilled", |_, system: &System| {
            system.order.fulfilled && !has_started(system, Executor::FirstWorker)
        }),
        Property::sometimes("recovery ships what is owed", |_, system: &System| {
            system.order.fulfilled && has_started(system, Executor::FirstWorker)
        }),
        Property::sometimes(
            "a cancellation is refused because a shipment is owed",
            |_, system: &System| {
                system.order.shipment_owed
                    && !has_started(system, Executor::Canceller)
                    && system.order.cancelled() == Err(Refusal::AlreadyFulfilled)
            },
        ),
        Property::sometimes(
            "a cancellation wins against a fulfilment",
            |_, system: &System| {
                is_cancelled(system.order) && has_decided_on_confirmed(system, Executor::Fulfiller)
            },
        ),
        Property::sometimes(
            "a fulfilment wins against a cancellation",
            |_, system: &System| {
                system.order.shipment_owed && has_decided_on_confirmed(system, Executor::Canceller)
            },
        ),
    ]
}

fn by_retention() -> Vec<OrderProperty> {
    vec![
        Property::sometimes("a fulfilled order leaves", |_, system: &System| {
            system.retention == Retention::Gone && system.order.fulfilled
        }),
        Property::sometimes(
            "a cancelled order leaves while its reserve is on its way",
            |_, system: &System| {
                system.retention == Retention::Gone
                    && is_cancelled(system.order)
                    && system.executor(Executor::Request).waits_for(Step::Reserve)
            },
        ),
        Property::sometimes(
            "an order leaves while an attempt is about to reserve",
            |_, system: &System| {
                let request = system.executor(Executor::Request);
                system.retention == Retention::Gone
                    && matches!(request, ExecutorState::Ready(attempt)
                        if attempt.next() == Some(Step::Reserve))
            },
        ),
    ]
}

fn is_cancelled_and_settled(system: &System) -> bool {
    is_failed_and_settled(system) && is_cancelled(system.order)
}

fn has_started(system: &System, executor: Executor) -> bool {
    system.executor(executor) != ExecutorState::NotStarted
}

/// Whether an operator's executor is about to store a change of the order as it was when confirmed.
fn has_decided_on_confirmed(system: &System, executor: Executor) -> bool {
    matches!(
        system.executor(executor),
        ExecutorState::Decided { read } if read.status == OrderStatus::Confirmed
    )
}

/// Whether a reserve that was sent would find such a row if it arrived now.
fn finds(
    system: &System,
    state: ReservationState,
    epochs: fn(sent: i32, row: i32) -> bool,
) -> bool {
    let Some(row) = system.services.reservation.filter(|row| row.state == state) else {
        return false;
    };
    system
        .sent
        .messages()
        .any(|message| matches!(message, Message::Reserve(epoch) if epochs(epoch, row.epoch)))
}
