//! The rules of the services, each of which can be removed.

use valerix::api::{OrderStatus, PaymentStatus};
use valerix::domain::ledger::{Entry, Goods, ReleasePlan, ReservePlan, ShipPlan};
use valerix::domain::saga::{Attempt, Refusal, SagaState, StepOutcome, Transition};
use valerix::domain::{ledger, payment};

use crate::executor::Intervention;

/// A rule that can be removed. The comments say what happens without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// A release of an order without a ledger row leaves no row.
    ReleaseTombstone,
    /// The ledger ignores epochs.
    ReservationEpochs(Substitute),
    /// A takeover keeps the epoch that it found.
    NewEpochAtClaim,
    /// A failed order releases its stock, but does not refund its charge.
    RefundOwed,
    /// A void of an order without a payment row leaves no row.
    VoidTombstone,
    /// Each charge that arrives is made. Neither payment's row nor the gateway's idempotency key
    /// prevents it.
    ChargeIdempotence,
    /// An order for which there is too little stock assumes that it holds none, and owes no
    /// release.
    ReleaseOwedOutOfStock,
    /// The order's row accepts every change, whatever its epoch.
    CompareAndSet,
    /// Each release that arrives adds to the stock.
    ReleaseIdempotence,
    /// A void refunds an earlier charge at the gateway, but does not prevent a later one.
    GatewayDeclinesAfterVoid,
    /// The order's row accepts every change with its epoch, also one that leaves a final status.
    FinalStatusGuard,
    /// A failed order releases only at the epoch of its attempt.
    ReleaseAtEveryEpoch,
    /// A cancellation keeps the epoch that it found.
    NewEpochAtCancel,
    /// A cancelled order releases its stock, but does not refund its charge.
    RefundOwedByCancelled,
    /// A fulfilment ships first, and stores that the goods have left when it has the answer.
    ShipmentRecordedFirst,
    /// A cancellation also takes back a shipment that is owed.
    ShipmentForbidsCancel,
    /// The decision to cancel respects an owed shipment, but the statement that stores it compares
    /// only the epoch and the status.
    ShipmentGuardOfCancel,
    /// A change that operators ask for is stored whatever has happened since the order was read.
    CompareAndSetOfOperators,
    /// Each ship that arrives at the epoch of the row or a later one takes goods out.
    ShipIdempotence,
    /// A service takes a message however long after its deadline it arrives.
    LateMessagesRefused,
    /// An attempt that has stalled for days dates its messages by the time at which it sends them.
    MessagesDatedByAttempt,
    /// A handler that has stalled for days can still write to its database.
    SessionsEnd,
}

/// The rule that decides between a reserve and a release instead of their epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Substitute {
    /// A released order can never be reserved again.
    PlainTombstone,
    /// The message that arrives last wins.
    LastMessageWins,
}

#[derive(Debug, Clone, Copy)]
pub struct Rules {
    pub without: Option<Rule>,
}

impl Rules {
    pub fn lacks(self, rule: Rule) -> bool {
        self.without == Some(rule)
    }

    pub fn reserve(self, entry: Option<Entry>, epoch: i32, goods: &Goods) -> ReservePlan {
        let seen = entry.map(|entry| Entry {
            epoch: match self.without {
                Some(Rule::ReservationEpochs(Substitute::PlainTombstone)) => epoch,
                Some(Rule::ReservationEpochs(Substitute::LastMessageWins)) => epoch - 1,
                _ => entry.epoch,
            },
            ..entry
        });
        ledger::reserve(seen.as_ref(), epoch, goods)
    }

    pub fn release(self, entry: Option<Entry>, epoch: i32) -> ReleasePlan {
        let knows_epochs = !matches!(self.without, Some(Rule::ReservationEpochs(_)));
        let seen = entry.map(|entry| Entry {
            epoch: if knows_epochs { entry.epoch } else { epoch },
            ..entry
        });
        match ledger::release(seen.as_ref(), epoch) {
            ReleasePlan::Tombstone if self.lacks(Rule::ReleaseTombstone) => ReleasePlan::Ignore,
            ReleasePlan::RaiseEpoch if self.lacks(Rule::ReleaseIdempotence) => {
                ReleasePlan::GiveBack
            }
            plan => plan,
        }
    }

    pub fn ship(self, entry: Option<&Entry>, epoch: i32) -> ShipPlan {
        match ledger::ship(entry, epoch) {
            ShipPlan::AlreadyShipped if self.lacks(Rule::ShipIdempotence) => ShipPlan::Ship,
            plan => plan,
        }
    }

    pub fn must_charge(self, stored: Option<PaymentStatus>) -> bool {
        stored.is_none() || self.lacks(Rule::ChargeIdempotence)
    }

    pub fn void(self, stored: Option<PaymentStatus>) -> Option<PaymentStatus> {
        if stored.is_none() && self.lacks(Rule::VoidTombstone) {
            return None;
        }
        Some(payment::void(stored))
    }

    pub fn gateway_charges_once(self) -> bool {
        !self.lacks(Rule::ChargeIdempotence)
    }

    pub fn gateway_declines_after_void(self) -> bool {
        !self.lacks(Rule::GatewayDeclinesAfterVoid)
    }

    /// The order's row after a takeover.
    pub fn claim(self, order: SagaState) -> SagaState {
        let increment = i32::from(!self.lacks(Rule::NewEpochAtClaim));
        SagaState {
            epoch: order.epoch + increment,
            ..order
        }
    }

    /// Whether the order's row accepts a transition to `next`.
    pub fn may_store(self, order: SagaState, next: SagaState) -> bool {
        let holds_epoch = order.epoch == next.epoch;
        let leaves_final_status = !order.may_become(next.status);
        let brings_goods_back = order.fulfilled && !next.fulfilled;
        let forgets_shipment = order.shipment_owed && !next.shipment_owed && !next.fulfilled;
        self.lacks(Rule::CompareAndSet)
            || (holds_epoch
                && !brings_goods_back
                && !forgets_shipment
                && (!leaves_final_status || self.lacks(Rule::FinalStatusGuard)))
    }

    /// The state after what operators ask for, decided from the order as it was read.
    pub fn decide(
        self,
        asked: Intervention,
        read: SagaState,
    ) -> Result<Option<SagaState>, Refusal> {
        match asked {
            Intervention::Fulfil => read.with_shipment_owed(),
            Intervention::Cancel => {
                let seen = SagaState {
                    shipment_owed: read.shipment_owed && !self.lacks(Rule::ShipmentForbidsCancel),
                    ..read
                };
                let cancelled = seen.cancelled()?;
                Ok(cancelled.map(|cancelled| self.cancelled(read, cancelled)))
            }
        }
    }

    fn cancelled(self, read: SagaState, cancelled: SagaState) -> SagaState {
        let epoch = if self.lacks(Rule::NewEpochAtCancel) {
            read.epoch
        } else {
            cancelled.epoch
        };
        SagaState {
            epoch,
            release_owed_epoch: Some(epoch),
            refund_owed: cancelled.refund_owed && !self.lacks(Rule::RefundOwedByCancelled),
            ..cancelled
        }
    }

    /// Whether the change is stored before the first call.
    pub fn records_first(self, asked: Intervention) -> bool {
        asked == Intervention::Cancel || !self.lacks(Rule::ShipmentRecordedFirst)
    }

    /// Whether the order's row accepts a change that operators ask for. They have read `read`.
    pub fn may_intervene(self, order: SagaState, read: SagaState) -> bool {
        let is_as_read = order.epoch == read.epoch && order.status == read.status;
        let has_failed = order.status == OrderStatus::Failed;
        let ignores_shipment =
            self.lacks(Rule::ShipmentForbidsCancel) || self.lacks(Rule::ShipmentGuardOfCancel);
        let goods_leave = (order.shipment_owed && !ignores_shipment) || order.fulfilled;
        self.lacks(Rule::CompareAndSetOfOperators) || (is_as_read && !has_failed && !goods_leave)
    }

    pub fn release_epoch(self, order: SagaState) -> i32 {
        if self.lacks(Rule::ReleaseAtEveryEpoch) {
            order.epoch
        } else {
            order.release_epoch()
        }
    }

    pub fn apply(self, attempt: Attempt, outcome: StepOutcome) -> (Attempt, Option<Transition>) {
        let (mut after, transition) = attempt.apply(outcome);
        if self.lacks(Rule::RefundOwed) {
            after.state.refund_owed = false;
        }
        if self.lacks(Rule::ReleaseOwedOutOfStock) && outcome == StepOutcome::InsufficientStock {
            after.state.release_owed_epoch = None;
        }
        (after, transition)
    }
}
