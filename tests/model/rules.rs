//! The service's rules, each of which can be taken away.

use valerix::api::PaymentStatus;
use valerix::domain::ledger::{Entry, Goods, ReleasePlan, ReservePlan};
use valerix::domain::saga::{Attempt, Change, Event, SagaState};
use valerix::domain::{ledger, payment};

/// A rule that can be taken away, and what happens without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// A release of an order that inventory never heard of leaves no trace.
    ReleaseTombstone,
    /// Reservations know the order alone.
    ReservationEpochs(Instead),
    /// A takeover goes on with the epoch it found.
    NewEpochAtClaim,
    /// A failed order gives its stock back and leaves the money where it is.
    VoidOwed,
    /// A void of an order that payment has no row of leaves none.
    VoidTombstone,
    /// Each charge that arrives is made: neither payment's row nor the order's id at the gateway
    /// prevents it.
    ChargeIdempotence,
    /// An order told that there is no stock takes inventory's word that it holds none.
    ReleaseOwedOutOfStock,
    /// The order's row takes every change, whoever holds its epoch.
    CompareAndSet,
    /// Each release that arrives gives stock back.
    ReleaseIdempotence,
    /// The gateway gives back what it charged, but a void does not keep it from charging later.
    GatewayRemembersVoid,
    /// The order's row takes a change of whoever holds its epoch, also one that leaves a final
    /// status.
    FinalStatusGuard,
    /// A failed order releases at the epoch of its attempt.
    ReleaseAtEveryEpoch,
}

/// What decides between a reserve and a release where epochs do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instead {
    /// A plain tombstone.
    ReleasedForEver,
    LastMessageWins,
}

#[derive(Debug, Clone, Copy)]
pub struct Rules {
    pub without: Option<Rule>,
}

impl Rules {
    fn lacks(self, rule: Rule) -> bool {
        self.without == Some(rule)
    }

    pub fn reserve(self, entry: Option<Entry>, epoch: i32, goods: &Goods) -> ReservePlan {
        let seen = entry.map(|entry| Entry {
            epoch: match self.without {
                Some(Rule::ReservationEpochs(Instead::ReleasedForEver)) => epoch,
                Some(Rule::ReservationEpochs(Instead::LastMessageWins)) => epoch - 1,
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
            ReleasePlan::BumpEpoch if self.lacks(Rule::ReleaseIdempotence) => ReleasePlan::GiveBack,
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

    pub fn gateway_remembers_cancel(self) -> bool {
        !self.lacks(Rule::GatewayRemembersVoid)
    }

    /// The row as a takeover stores and sees it.
    pub fn claim(self, order: SagaState) -> SagaState {
        let raise = i32::from(!self.lacks(Rule::NewEpochAtClaim));
        SagaState {
            epoch: order.epoch + raise,
            ..order
        }
    }

    /// Whether the order's row takes a driver's change.
    pub fn may_store(self, order: SagaState, change: SagaState) -> bool {
        let holds_epoch = order.epoch == change.epoch;
        let leaves_final_status = !order.may_become(change.status);
        self.lacks(Rule::CompareAndSet)
            || (holds_epoch && (!leaves_final_status || self.lacks(Rule::FinalStatusGuard)))
    }

    pub fn release_epoch(self, order: SagaState) -> i32 {
        if self.lacks(Rule::ReleaseAtEveryEpoch) {
            order.epoch
        } else {
            order.release_epoch()
        }
    }

    pub fn on(self, attempt: Attempt, event: Event) -> (Attempt, Option<Change>) {
        let (mut after, change) = attempt.apply(event);
        if self.lacks(Rule::VoidOwed) {
            after.state.refund_owed = false;
        }
        if self.lacks(Rule::ReleaseOwedOutOfStock) && event == Event::InsufficientStock {
            after.state.release_owed_epoch = None;
        }
        (after, change)
    }
}
