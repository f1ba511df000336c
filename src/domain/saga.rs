//! How an order moves: (state, event) → next state. Pure; the service and the model in the tests
//! run the same functions.
//!
//! An *attempt* is one driver's try at an order: the request that placed it (epoch 1), or a worker
//! that took it over (a higher epoch). It asks [`Attempt::next`] what to do, does it, and tells
//! [`Attempt::on`] what came of it.

use crate::api::{FailureReason, OrderStatus};

/// A release at this epoch gives back whatever the order holds, and no reserve can follow it. An
/// order that has failed never goes on, so that it releases at this epoch: what is settled holds
/// nothing, whoever reserved it at whatever epoch.
pub const EVERY_EPOCH: i32 = i32::MAX;

/// What the database knows of an order that decides how it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct State {
    pub status: OrderStatus,
    /// Absent also where a newer release gave a reason that this one does not know.
    pub failure_reason: Option<FailureReason>,
    /// Fencing token; raised by each takeover.
    pub epoch: i32,
    /// Epoch whose hold must still be given back.
    pub release_due: Option<i32>,
    /// A charge must still be undone or forbidden.
    pub void_due: bool,
}

impl State {
    /// A new order, in the hands of the request that placed it.
    pub const PLACED: Self = Self {
        status: OrderStatus::Pending,
        failure_reason: None,
        epoch: 1,
        release_due: None,
        void_due: false,
    };

    /// Nothing is left to be done for it, by anyone.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        self.is_final() && self.release_due.is_none() && !self.void_due
    }

    /// Which status an order may have after this one: a final status is never left.
    #[must_use]
    pub fn may_become(&self, status: OrderStatus) -> bool {
        !self.is_final() || self.status == status
    }

    /// The epoch of a release.
    #[must_use]
    pub const fn release_epoch(&self) -> i32 {
        if matches!(self.status, OrderStatus::Failed) {
            EVERY_EPOCH
        } else {
            self.epoch
        }
    }

    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(self.status, OrderStatus::Confirmed | OrderStatus::Failed)
    }

    const fn failed(self, reason: FailureReason, void_due: bool) -> Self {
        Self {
            status: OrderStatus::Failed,
            failure_reason: Some(reason),
            epoch: self.epoch,
            release_due: Some(self.epoch),
            void_due,
        }
    }
}

/// What an attempt does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    AskPayment,
    Reserve,
    Charge,
    Release,
    Void,
    /// Nothing more in this attempt; what is unsettled waits for a later one.
    Stop,
}

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    Reserved,
    InsufficientStock,
    UnknownProduct,
    /// A later attempt has been there.
    Overtaken,
    Charged,
    Declined,
    NotCharged,
    Released,
    Voided,
    /// Timeout or error: what was done is unknown.
    Unavailable,
    /// The order is older than the recovery bound.
    Expired,
}

/// How far an attempt has come; lives in memory, and dies with its process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Stage {
    Begin,
    /// Payment did not decline: stock is to be reserved.
    Asked,
    Held,
    /// Only what is owed is left to be done.
    Settling,
    Stopped,
}

/// One driver's try at an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Attempt {
    pub state: State,
    stage: Stage,
}

/// A change that must be stored before the attempt goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Change {
    /// Stable, kebab-case.
    pub reason: &'static str,
}

impl Attempt {
    #[must_use]
    pub const fn new(state: State) -> Self {
        Self {
            state,
            stage: Stage::Begin,
        }
    }

    #[must_use]
    pub const fn next(&self) -> Step {
        match (self.stage, self.state.status) {
            (Stage::Stopped, _) | (_, OrderStatus::Confirmed) => Step::Stop,
            (Stage::Settling, _) | (_, OrderStatus::Failed) => self.debt(),
            (Stage::Held, _) => Step::Charge,
            // The charge of an earlier attempt may have gone through: no stock moves before payment
            // was asked.
            (Stage::Begin, OrderStatus::PendingPayment) => Step::AskPayment,
            (Stage::Begin | Stage::Asked, _) => Step::Reserve,
        }
    }

    const fn debt(&self) -> Step {
        match (self.state.release_due, self.state.void_due) {
            (Some(_), _) => Step::Release,
            (None, true) => Step::Void,
            (None, false) => Step::Stop,
        }
    }

    /// The attempt after an event, and the change to store, if there is one.
    #[must_use]
    pub const fn on(self, event: Event) -> (Self, Option<Change>) {
        match (self.next(), event) {
            (_, Event::Expired) if !self.state.is_final() => {
                self.fail(FailureReason::Expired, true)
            }
            (Step::AskPayment, Event::Charged | Event::NotCharged) => (
                Self {
                    stage: Stage::Asked,
                    ..self
                },
                None,
            ),
            // Whatever is held for it goes back, without waiting for payment's return.
            (Step::AskPayment, Event::Unavailable) => (
                Self {
                    stage: Stage::Settling,
                    ..self
                },
                None,
            ),
            (Step::Reserve, Event::Reserved) => (
                Self {
                    stage: Stage::Held,
                    ..self
                },
                None,
            ),
            // An earlier attempt's charge may still be on its way.
            (Step::Reserve, Event::InsufficientStock) => {
                self.fail(FailureReason::InsufficientStock, self.is_takeover())
            }
            (Step::Reserve, Event::UnknownProduct) => {
                self.fail(FailureReason::UnknownProduct, self.is_takeover())
            }
            (Step::Reserve, Event::Unavailable) => self.inventory_unavailable(),
            (Step::Charge, Event::Charged) => self.confirm(),
            (Step::AskPayment | Step::Charge, Event::Declined) => {
                self.fail(FailureReason::PaymentDeclined, false)
            }
            (Step::Charge, Event::Unavailable) => self.payment_unavailable(),
            (Step::Release, Event::Released) => {
                let state = State {
                    release_due: None,
                    ..self.state
                };
                (
                    Self {
                        state,
                        stage: Stage::Settling,
                    },
                    Some(Change {
                        reason: "stock-returned",
                    }),
                )
            }
            (Step::Void, Event::Voided) => {
                let state = State {
                    void_due: false,
                    ..self.state
                };
                (
                    Self {
                        state,
                        stage: Stage::Settling,
                    },
                    Some(Change {
                        reason: "payment-voided",
                    }),
                )
            }
            // Overtaken; or what is owed waits for a later attempt, as does a step whose answer
            // makes no sense for it.
            _ => (
                Self {
                    stage: Stage::Stopped,
                    ..self
                },
                None,
            ),
        }
    }

    const fn is_takeover(&self) -> bool {
        self.state.epoch > 1
    }

    const fn confirm(self) -> (Self, Option<Change>) {
        let state = State {
            status: OrderStatus::Confirmed,
            release_due: None,
            ..self.state
        };
        (
            Self {
                state,
                stage: Stage::Stopped,
            },
            Some(Change {
                reason: "confirmed",
            }),
        )
    }

    const fn fail(self, reason: FailureReason, void_due: bool) -> (Self, Option<Change>) {
        let state = self.state.failed(reason, void_due);
        (
            Self {
                state,
                stage: Stage::Settling,
            },
            Some(Change {
                reason: reason.as_str(),
            }),
        )
    }

    const fn inventory_unavailable(self) -> (Self, Option<Change>) {
        let change = Some(Change {
            reason: "inventory-unavailable",
        });
        let status = match self.state.status {
            // Stays what it is: payment must be asked first again, since a charge may have gone
            // through.
            OrderStatus::PendingPayment => OrderStatus::PendingPayment,
            _ => OrderStatus::PendingInventory,
        };
        (
            Self {
                state: State {
                    status,
                    ..self.state
                },
                stage: Stage::Stopped,
            },
            change,
        )
    }

    const fn payment_unavailable(self) -> (Self, Option<Change>) {
        let state = State {
            status: OrderStatus::PendingPayment,
            release_due: Some(self.state.epoch),
            ..self.state
        };
        (
            Self {
                state,
                stage: Stage::Settling,
            },
            Some(Change {
                reason: "payment-unavailable",
            }),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::OrderStatus as S;

    /// Feeds the events in turn; returns the steps taken and where it ended.
    fn run(state: State, events: &[Event]) -> (Vec<Step>, State, Vec<&'static str>) {
        let mut attempt = Attempt::new(state);
        let (mut steps, mut reasons) = (Vec::new(), Vec::new());
        for event in events {
            steps.push(attempt.next());
            let (after, change) = attempt.on(*event);
            reasons.extend(change.map(|change| change.reason));
            attempt = after;
        }
        steps.push(attempt.next());
        (steps, attempt.state, reasons)
    }

    fn taken_over(status: S) -> State {
        State {
            status,
            epoch: 2,
            ..State::PLACED
        }
    }

    #[test]
    fn all_goes_well() {
        let (steps, state, reasons) = run(State::PLACED, &[Event::Reserved, Event::Charged]);
        assert_eq!(steps, [Step::Reserve, Step::Charge, Step::Stop]);
        assert_eq!((state.status, state.is_settled()), (S::Confirmed, true));
        assert_eq!(reasons, ["confirmed"]);
    }

    #[test]
    fn a_silent_inventory_leaves_the_order_to_recovery() {
        let (steps, state, _) = run(State::PLACED, &[Event::Unavailable]);
        assert_eq!(steps, [Step::Reserve, Step::Stop]);
        assert_eq!(
            (state.status, state.release_due),
            (S::PendingInventory, None)
        );
    }

    #[test]
    fn a_silent_payment_gives_the_stock_back_at_once() {
        let (steps, state, reasons) = run(
            State::PLACED,
            &[Event::Reserved, Event::Unavailable, Event::Released],
        );
        assert_eq!(
            steps,
            [Step::Reserve, Step::Charge, Step::Release, Step::Stop]
        );
        assert_eq!(
            (state.status, state.release_due, state.is_settled()),
            (S::PendingPayment, None, false)
        );
        assert_eq!(reasons, ["payment-unavailable", "stock-returned"]);
    }

    #[test]
    fn a_release_that_fails_stays_owed() {
        let (steps, state, _) = run(
            State::PLACED,
            &[Event::Reserved, Event::Declined, Event::Unavailable],
        );
        assert_eq!(steps.last(), Some(&Step::Stop));
        assert_eq!(
            (state.status, state.release_due, state.is_settled()),
            (S::Failed, Some(1), false)
        );
    }

    #[test]
    fn out_of_stock_owes_a_release_and_in_a_takeover_a_void_too() {
        let (_, placed, _) = run(State::PLACED, &[Event::InsufficientStock]);
        assert_eq!(
            (placed.failure_reason, placed.release_due, placed.void_due),
            (Some(FailureReason::InsufficientStock), Some(1), false)
        );
        let (_, taken, _) = run(taken_over(S::PendingInventory), &[Event::InsufficientStock]);
        assert_eq!((taken.release_due, taken.void_due), (Some(2), true));
        let (steps, settled, _) = run(taken, &[Event::Released, Event::Voided]);
        assert_eq!(steps, [Step::Release, Step::Void, Step::Stop]);
        assert!(settled.is_settled());
    }

    #[test]
    fn a_takeover_of_a_pending_payment_asks_before_stock_moves() {
        for known in [Event::Charged, Event::NotCharged] {
            let (steps, state, _) = run(
                taken_over(S::PendingPayment),
                &[known, Event::Reserved, Event::Charged],
            );
            assert_eq!(
                steps,
                [Step::AskPayment, Step::Reserve, Step::Charge, Step::Stop]
            );
            assert_eq!(state.status, S::Confirmed);
        }
        let (steps, state, _) = run(taken_over(S::PendingPayment), &[Event::Unavailable]);
        assert_eq!(
            (steps.last(), state.status),
            (Some(&Step::Stop), S::PendingPayment)
        );
        let (_, state, _) = run(taken_over(S::PendingPayment), &[Event::Declined]);
        assert_eq!((state.status, state.release_due), (S::Failed, Some(2)));
        let (_, state, _) = run(
            taken_over(S::PendingPayment),
            &[Event::Charged, Event::Unavailable],
        );
        assert_eq!(
            state.status,
            S::PendingPayment,
            "the charge may stand: ask payment first again"
        );
    }

    #[test]
    fn a_failed_order_releases_at_every_epoch_and_a_pending_one_at_its_own() {
        let pending = State {
            release_due: Some(2),
            ..taken_over(S::PendingPayment)
        };
        assert_eq!(pending.release_epoch(), 2);
        assert_eq!(
            pending.failed(FailureReason::Expired, true).release_epoch(),
            EVERY_EPOCH
        );
    }

    #[test]
    fn a_final_status_is_never_left() {
        for status in OrderStatus::ALL {
            assert!(taken_over(S::PendingPayment).may_become(*status));
            assert_eq!(
                taken_over(S::Confirmed).may_become(*status),
                *status == S::Confirmed
            );
            assert_eq!(
                taken_over(S::Failed).may_become(*status),
                *status == S::Failed
            );
        }
    }

    #[test]
    fn who_is_overtaken_stops_and_changes_nothing() {
        for status in [
            S::Pending,
            S::PendingInventory,
            S::PendingPayment,
            S::Failed,
        ] {
            let state = State {
                release_due: Some(2),
                ..taken_over(status)
            };
            let (attempt, change) = Attempt::new(state).on(Event::Overtaken);
            assert_eq!(
                (attempt.next(), attempt.state, change),
                (Step::Stop, state, None)
            );
        }
    }

    #[test]
    fn an_expired_order_fails_and_owes_both() {
        let (_, state, reasons) = run(taken_over(S::PendingInventory), &[Event::Expired]);
        assert_eq!(
            (state.status, state.release_due, state.void_due),
            (S::Failed, Some(2), true)
        );
        assert_eq!(reasons, ["expired"]);
    }

    #[test]
    fn no_event_moves_a_final_status() {
        let events = [
            Event::Reserved,
            Event::InsufficientStock,
            Event::UnknownProduct,
            Event::Overtaken,
            Event::Charged,
            Event::Declined,
            Event::NotCharged,
            Event::Released,
            Event::Voided,
            Event::Unavailable,
            Event::Expired,
        ];
        let failed = taken_over(S::Pending).failed(FailureReason::PaymentDeclined, true);
        for state in [taken_over(S::Confirmed), failed] {
            for event in events {
                assert_eq!(
                    Attempt::new(state).on(event).0.state.status,
                    state.status,
                    "{event:?}"
                );
            }
        }
    }
}
