//! The rows of inventory and payment about the order, and the effect of each message on them.

use valerix::api::PaymentStatus;
use valerix::domain::ledger::{Entry, Goods, ReleasePlan, ReservationState, ReservePlan, ShipPlan};
use valerix::domain::saga::{CallFailure, RefundOutcome, StepOutcome};

use crate::network::Message;
use crate::rules::Rules;

/// Units delivered so far. The order and its competitor want one unit each.
pub const STOCKED: i32 = 1;

/// The ledger's row of the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reservation {
    pub epoch: i32,
    pub state: ReservationState,
}

/// The gateway's state of the order, whose id is the idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Gateway {
    would_approve: bool,
    approved: Option<bool>,
    cancelled: bool,
    /// Charges that were made and not refunded.
    pub captured: u8,
}

impl Gateway {
    fn charge(&mut self, rules: Rules) -> PaymentStatus {
        let first_answer = self.approved.filter(|_| rules.gateway_charges_once());
        let approved = first_answer.unwrap_or_else(|| {
            let approved = self.would_approve && !self.cancelled;
            // More than two charges are no other violation than two.
            self.captured = (self.captured + u8::from(approved)).min(2);
            approved
        });
        self.approved = Some(approved);
        if approved {
            PaymentStatus::Success
        } else {
            PaymentStatus::Failed
        }
    }

    fn cancel(&mut self, rules: Rules) {
        self.captured = 0;
        self.cancelled |= rules.gateway_declines_after_void();
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Services {
    pub reservation: Option<Reservation>,
    pub stock: i32,
    /// Units that the competitor has reserved.
    pub competitor: i32,
    /// Units that have left.
    pub shipped: i32,
    pub payment: Option<PaymentStatus>,
    pub gateway: Gateway,
}

impl Services {
    pub fn new(would_approve: bool) -> Self {
        Self {
            reservation: None,
            stock: STOCKED,
            competitor: 0,
            shipped: 0,
            payment: None,
            gateway: Gateway {
                would_approve,
                approved: None,
                cancelled: false,
                captured: 0,
            },
        }
    }

    pub fn is(&self, state: ReservationState) -> bool {
        self.reservation.is_some_and(|row| row.state == state)
    }

    /// The values that must not change any more once the order has ended.
    pub fn stored_values(&self) -> impl PartialEq + use<> {
        (
            self.reservation,
            self.stock,
            self.shipped,
            self.payment,
            self.gateway.captured,
        )
    }

    /// A call with its answer, in one action. A call that stops half-way is a `deliver`. Without a
    /// message, it is a query of payment.
    pub fn call(&mut self, rules: Rules, message: Option<Message>) -> StepOutcome {
        match message {
            Some(Message::Reserve(epoch)) => return self.reserve(rules, epoch),
            Some(Message::Release(epoch)) => {
                self.release(rules, epoch);
                return StepOutcome::Released {
                    units_returned: true,
                };
            }
            Some(Message::Ship(epoch)) => return self.ship(rules, epoch),
            Some(Message::Void) => {
                self.gateway.cancel(rules);
                self.payment = rules.void(self.payment);
                return StepOutcome::Refunded(RefundOutcome::Refunded);
            }
            Some(Message::Charge) if rules.must_charge(self.payment) => {
                let decided = self.gateway.charge(rules);
                self.payment.get_or_insert(decided);
            }
            _ => {}
        }
        // The outcome that payment's answer stands for.
        match self.payment {
            Some(PaymentStatus::Success) => StepOutcome::Charged,
            None | Some(PaymentStatus::Pending) => StepOutcome::NotCharged,
            Some(PaymentStatus::Failed | PaymentStatus::Refunded | PaymentStatus::Voided) => {
                StepOutcome::Declined
            }
        }
    }

    /// A message arrives. Returns the message that the handler's next step is.
    pub fn deliver(&mut self, rules: Rules, message: Message) -> Option<Message> {
        match message {
            Message::Reserve(epoch) => {
                self.reserve(rules, epoch);
            }
            Message::Release(epoch) => self.release(rules, epoch),
            Message::Ship(epoch) => {
                self.ship(rules, epoch);
            }
            Message::Charge => {
                return rules
                    .must_charge(self.payment)
                    .then_some(Message::CallGateway);
            }
            Message::CallGateway => return Some(Message::StoreCharge(self.gateway.charge(rules))),
            // The row that is stored first counts.
            Message::StoreCharge(decided) => {
                self.payment.get_or_insert(decided);
            }
            Message::Void => {
                self.gateway.cancel(rules);
                return Some(Message::StoreVoid);
            }
            Message::StoreVoid => self.payment = rules.void(self.payment),
        }
        None
    }

    fn entry(&self) -> Option<Entry> {
        self.reservation.map(|Reservation { epoch, state }| Entry {
            epoch,
            state,
            goods: (state != ReservationState::Released).then(goods),
        })
    }

    /// A reserve, in one transaction as in inventory's store.
    fn reserve(&mut self, rules: Rules, epoch: i32) -> StepOutcome {
        let state = match rules.reserve(self.entry(), epoch, &goods()) {
            ReservePlan::Stale => return StepOutcome::Fenced,
            ReservePlan::Mismatch | ReservePlan::AlreadyShipped => {
                return StepOutcome::CallFailed(CallFailure::Rejected);
            }
            ReservePlan::AlreadyHeld => return StepOutcome::Reserved,
            ReservePlan::KeepHeld => ReservationState::Held,
            ReservePlan::Take if self.stock > 0 => {
                self.stock -= 1;
                ReservationState::Held
            }
            ReservePlan::Take => ReservationState::Released,
        };
        if state == ReservationState::Held || self.reservation.is_some() {
            self.reservation = Some(Reservation { epoch, state });
        }
        if state == ReservationState::Held {
            StepOutcome::Reserved
        } else {
            StepOutcome::InsufficientStock
        }
    }

    fn release(&mut self, rules: Rules, epoch: i32) {
        match rules.release(self.entry(), epoch) {
            ReleasePlan::Ignore => return,
            ReleasePlan::GiveBack => self.stock += 1,
            ReleasePlan::Tombstone | ReleasePlan::RaiseEpoch => {}
        }
        self.reservation = Some(Reservation {
            epoch,
            state: ReservationState::Released,
        });
    }

    fn ship(&mut self, rules: Rules, epoch: i32) -> StepOutcome {
        match rules.ship(self.entry().as_ref(), epoch) {
            ShipPlan::Stale => StepOutcome::Fenced,
            ShipPlan::NothingHeld => StepOutcome::CallFailed(CallFailure::Rejected),
            ShipPlan::AlreadyShipped => StepOutcome::Shipped,
            ShipPlan::Ship => {
                // More than two units are no other violation than two.
                self.shipped = (self.shipped + 1).min(2);
                self.reservation = Some(Reservation {
                    epoch,
                    state: ReservationState::Shipped,
                });
                StepOutcome::Shipped
            }
        }
    }
}

fn goods() -> Goods {
    Goods {
        product_id: String::new(),
        quantity: 1,
    }
}
