//! Retention deletes the rows of an order that ended days ago.

use valerix::domain::retention::{Ending, ForgetPlan, forget_payment, forget_reservation};

use crate::network::Message;
use crate::rules::{Rule, Rules};
use crate::system::System;

/// How far retention has come with the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Retention {
    /// There is no retention in this search.
    Off,
    /// The order has not ended, or has ended not long ago.
    Young,
    /// The order ended days ago. Every attempt began before that.
    Old,
    /// The order is marked. Inventory and payment may delete their rows.
    Leaving,
    /// The order's row is deleted.
    Gone,
}

/// A step of retention. Each may be repeated, and may come late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RetentionAction {
    DaysPass,
    Mark,
    ForgetReservation,
    ForgetPayment,
    DeleteOrder,
}

impl Retention {
    pub fn is_old(self) -> bool {
        self >= Self::Old
    }

    pub fn is_leaving(self) -> bool {
        self >= Self::Leaving
    }
}

impl Rules {
    /// Whether a message still acts on the rows of an order that ended days ago. `is_fresh` says
    /// that its sender has dated it after that.
    pub fn accepts(self, retention: Retention, message: Message, is_fresh: bool) -> bool {
        if !retention.is_old() {
            return true;
        }
        match message {
            // The gateway is external: it refuses no late message, and remembers the order for
            // ever.
            Message::CallGateway => true,
            // The handler has stalled for days, and its session with the database has ended.
            Message::StoreCharge(_) | Message::StoreVoid => self.lacks(Rule::SessionsEnd),
            Message::Reserve(_)
            | Message::Release(_)
            | Message::Ship(_)
            | Message::Charge
            | Message::Void => self.lacks(Rule::LateMessagesRefused) || is_fresh,
        }
    }

    /// Whether a message is dated by the time at which its attempt began, even if the executor
    /// sends it days later.
    pub fn dates_by_attempt(self) -> bool {
        !self.lacks(Rule::MessagesDatedByAttempt)
    }
}

impl System {
    pub fn retention_actions(&self, actions: &mut Vec<RetentionAction>) {
        match self.retention {
            Retention::Off => {}
            Retention::Young => {
                if Ending::of(&self.order).is_some() {
                    actions.push(RetentionAction::DaysPass);
                }
            }
            Retention::Old => actions.push(RetentionAction::Mark),
            Retention::Leaving | Retention::Gone => {
                actions.push(RetentionAction::ForgetReservation);
                actions.push(RetentionAction::ForgetPayment);
                let services = &self.services;
                if services.reservation.is_none() && services.payment.is_none() {
                    actions.push(RetentionAction::DeleteOrder);
                }
            }
        }
    }

    pub fn perform_retention(&mut self, action: RetentionAction) {
        let Some(ending) = Ending::of(&self.order) else {
            return;
        };
        let services = &mut self.services;
        match action {
            RetentionAction::DaysPass => self.retention = Retention::Old,
            RetentionAction::Mark => self.retention = Retention::Leaving,
            RetentionAction::DeleteOrder => self.retention = Retention::Gone,
            RetentionAction::ForgetReservation => {
                let state = services.reservation.map(|row| row.state);
                if forget_reservation(state, ending) == ForgetPlan::Delete {
                    services.reservation = None;
                }
            }
            RetentionAction::ForgetPayment => {
                if forget_payment(services.payment, ending) == ForgetPlan::Delete {
                    services.payment = None;
                }
            }
        }
    }
}
