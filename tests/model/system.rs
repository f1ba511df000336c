//! The state of the whole system, and the actions that change it.

use valerix::api::{OrderStatus, PaymentStatus};
use valerix::domain::ledger::{Entry, Goods, ReleasePlan, ReservationState, ReservePlan};
use valerix::domain::saga::{
    Attempt, CallFailure, MAX_EPOCH, RefundOutcome, SagaState, Step, StepOutcome,
};

use crate::network::{Message, Sent};
use crate::rules::Rules;

/// Units delivered so far. The order and its competitor want one unit each.
pub const STOCKED: i32 = 1;

/// An executor of the saga. The first worker is the one that takes the order over first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Executor {
    Request,
    FirstWorker,
    SecondWorker,
}

const EXECUTORS: [Executor; 3] = [
    Executor::Request,
    Executor::FirstWorker,
    Executor::SecondWorker,
];

/// More steps than an undisturbed attempt takes. After this many, it has entered an endless loop.
const MAX_STEPS: usize = 20;

/// The state of an executor. It may stall in each state, because other actions may always come
/// first, and it may abort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum ExecutorState {
    NotStarted,
    /// About to make its next step.
    Ready(Attempt),
    /// Has sent the message of its step.
    Waiting(Attempt),
    /// Has the answer, and is about to store the change that follows from it.
    Storing(Attempt),
    /// Has stopped, was fenced by a later attempt, or has aborted.
    Ended,
}

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
pub enum Action {
    CompetitorReserves,
    CompetitorReleases,
    /// A worker takes the order over. A lease only makes it rare that the earlier executor still
    /// runs, so in the model it never prevents that.
    Claim,
    /// An executor sends the message of its step.
    Send(Executor),
    /// A message arrives, and its answer is lost.
    Deliver(Message),
    /// The message of an executor's step arrives, for the first time or again, and so does its
    /// answer.
    Answer(Executor),
    /// An executor stops waiting. Its message may still be under way.
    TimeOut(Executor),
    /// The order was older than the recovery bound when the worker took it over. It fails without a
    /// call.
    Expire(Executor),
    /// The compare-and-set of an executor reaches the order's database.
    Store(Executor),
    Abort(Executor),
    /// A standby that lacks the last takeover becomes the order's database.
    FailOver,
}

/// What can happen besides aborts, and delays, losses and repetitions of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hazard {
    None,
    /// The order's database fails over to a standby, and loses commits that were acknowledged.
    LossyFailover,
    /// Another client reserves stock for the order, at the highest possible epoch.
    ForeignReserve,
}

/// A standby of the order's database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Standby {
    Absent,
    /// Has the order's row from before the last takeover.
    Behind(SagaState),
    Promoted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct System {
    pub order: SagaState,
    standby: Standby,
    executors: [ExecutorState; 3],
    pub sent: Sent,
    pub reservation: Option<Reservation>,
    pub stock: i32,
    /// Units that the competitor has reserved.
    pub competitor: i32,
    pub payment: Option<PaymentStatus>,
    pub gateway: Gateway,
    /// A stored change of the order's status that is not allowed.
    pub forbidden_change: Option<(OrderStatus, OrderStatus)>,
}

impl System {
    pub fn new(would_approve: bool, hazard: Hazard) -> Self {
        let mut sent = Sent::default();
        if hazard == Hazard::ForeignReserve {
            sent.add(Message::Reserve(MAX_EPOCH));
        }
        let standby = match hazard {
            Hazard::LossyFailover => Standby::Behind(SagaState::PLACED),
            Hazard::None | Hazard::ForeignReserve => Standby::Absent,
        };
        Self {
            order: SagaState::PLACED,
            standby,
            executors: [
                ExecutorState::Ready(Attempt::new(SagaState::PLACED)),
                ExecutorState::NotStarted,
                ExecutorState::NotStarted,
            ],
            sent,
            reservation: None,
            stock: STOCKED,
            competitor: 0,
            payment: None,
            gateway: Gateway {
                would_approve,
                approved: None,
                cancelled: false,
                captured: 0,
            },
            forbidden_change: None,
        }
    }

    pub fn is_held(&self) -> bool {
        self.reservation
            .is_some_and(|row| row.state == ReservationState::Held)
    }

    pub fn actions(&self, actions: &mut Vec<Action>) {
        if self.stock > 0 {
            actions.push(Action::CompetitorReserves);
        }
        if self.competitor > 0 {
            actions.push(Action::CompetitorReleases);
        }
        if !self.order.is_settled() && self.executors.contains(&ExecutorState::NotStarted) {
            actions.push(Action::Claim);
        }
        if matches!(self.standby, Standby::Behind(order) if order != self.order) {
            actions.push(Action::FailOver);
        }
        actions.extend(self.sent.messages().map(Action::Deliver));
        for executor in EXECUTORS {
            match self.executors[executor as usize] {
                ExecutorState::NotStarted | ExecutorState::Ended => continue,
                ExecutorState::Ready(attempt) => {
                    actions.push(Action::Send(executor));
                    let took_over_now =
                        executor != Executor::Request && attempt == Attempt::new(attempt.state);
                    if took_over_now && !attempt.state.is_final() {
                        actions.push(Action::Expire(executor));
                    }
                }
                ExecutorState::Waiting(_) => {
                    actions.extend([Action::Answer(executor), Action::TimeOut(executor)]);
                }
                ExecutorState::Storing(_) => actions.push(Action::Store(executor)),
            }
            actions.push(Action::Abort(executor));
        }
    }

    pub fn perform_action(&mut self, rules: Rules, action: Action) {
        match action {
            Action::CompetitorReserves => {
                (self.stock, self.competitor) = (self.stock - 1, self.competitor + 1);
            }
            Action::CompetitorReleases => {
                (self.stock, self.competitor) = (self.stock + 1, self.competitor - 1);
            }
            Action::Claim => self.claim(rules),
            Action::FailOver => {
                if let Standby::Behind(order) = self.standby {
                    (self.order, self.standby) = (order, Standby::Promoted);
                }
            }
            Action::Deliver(message) => self.deliver(rules, message),
            Action::Send(executor)
            | Action::Answer(executor)
            | Action::TimeOut(executor)
            | Action::Expire(executor)
            | Action::Store(executor)
            | Action::Abort(executor) => {
                let state = self.executors[executor as usize];
                self.executors[executor as usize] = self.execute(rules, state, action);
            }
        }
    }

    fn claim(&mut self, rules: Rules) {
        if let Some(index) = self
            .executors
            .iter()
            .position(|state| *state == ExecutorState::NotStarted)
        {
            if let Standby::Behind(_) = self.standby {
                self.standby = Standby::Behind(self.order);
            }
            self.order = rules.claim(self.order);
            self.executors[index] = ready_or_ended(Attempt::new(self.order));
        }
    }

    /// One action of one executor. Any other action may happen before its next one.
    fn execute(&mut self, rules: Rules, state: ExecutorState, action: Action) -> ExecutorState {
        match (state, action) {
            (ExecutorState::Ready(attempt), Action::Send(_)) => {
                if let Some(message) = message(rules, attempt) {
                    self.sent.add(message);
                }
                ExecutorState::Waiting(attempt)
            }
            (ExecutorState::Ready(attempt), Action::Expire(_)) => {
                apply_outcome(rules, attempt, StepOutcome::Expired)
            }
            (ExecutorState::Waiting(attempt), Action::Answer(_)) => {
                let outcome = self.call(rules, attempt);
                apply_outcome(rules, attempt, outcome)
            }
            (ExecutorState::Waiting(attempt), Action::TimeOut(_)) => apply_outcome(
                rules,
                attempt,
                StepOutcome::CallFailed(CallFailure::TimedOut),
            ),
            (ExecutorState::Storing(attempt), Action::Store(_))
                if self.store(rules, attempt.state) =>
            {
                ready_or_ended(attempt)
            }
            _ => ExecutorState::Ended,
        }
    }

    /// The state after one more worker has taken the order over, and nothing has disturbed it.
    pub fn recovered(&self, rules: Rules) -> Self {
        let mut system = *self;
        if system.order.is_settled() {
            return system;
        }
        system.order = rules.claim(system.order);
        let mut attempt = Attempt::new(system.order);
        for _ in 0..MAX_STEPS {
            let outcome = system.call(rules, attempt);
            let (after, transition) = rules.apply(attempt, outcome);
            let goes_on = transition.is_none() || system.store(rules, after.state);
            if !goes_on || after.next().is_none() {
                break;
            }
            attempt = after;
        }
        system
    }

    /// Whether no message under way could change anything, in any order and any number of times.
    pub fn is_unaffected_by_late_messages(&self, rules: Rules) -> bool {
        let stored_values = |system: &Self| {
            (
                system.reservation,
                system.stock,
                system.payment,
                system.gateway.captured,
            )
        };
        let mut system = *self;
        loop {
            let before = system;
            for message in before.sent.messages() {
                system.deliver(rules, message);
                if stored_values(&system) != stored_values(self) {
                    return false;
                }
            }
            // A message that arrived may have sent others.
            if system == before {
                return true;
            }
        }
    }

    /// The compare-and-set. Returns false if a later attempt has fenced this one. Like the SQL
    /// statement, it keeps the reason of a failure.
    fn store(&mut self, rules: Rules, state: SagaState) -> bool {
        if !rules.may_store(self.order, state) {
            return false;
        }
        let failure_reason = self.order.failure_reason.or(state.failure_reason);
        let state = SagaState {
            failure_reason,
            ..state
        };
        if !may_become(self.order, state) {
            self.forbidden_change = Some((self.order.status, state.status));
        }
        // A statement that stores a transition never moves the epoch.
        self.order = SagaState {
            epoch: self.order.epoch,
            ..state
        };
        true
    }

    /// A call with its answer, in one action. A call that stops half-way is a `Deliver`.
    fn call(&mut self, rules: Rules, attempt: Attempt) -> StepOutcome {
        match message(rules, attempt) {
            Some(Message::Reserve(epoch)) => return self.reserve(rules, epoch),
            Some(Message::Release(epoch)) => {
                self.release(rules, epoch);
                return StepOutcome::Released {
                    units_returned: true,
                };
            }
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

    fn deliver(&mut self, rules: Rules, message: Message) {
        match message {
            Message::Reserve(epoch) => {
                self.reserve(rules, epoch);
            }
            Message::Release(epoch) => self.release(rules, epoch),
            Message::Charge => {
                if rules.must_charge(self.payment) {
                    self.sent.add(Message::CallGateway);
                }
            }
            Message::CallGateway => {
                let decided = self.gateway.charge(rules);
                self.sent.add(Message::StoreCharge(decided));
            }
            // The row that is stored first counts.
            Message::StoreCharge(decided) => {
                self.payment.get_or_insert(decided);
            }
            Message::Void => {
                self.gateway.cancel(rules);
                self.sent.add(Message::StoreVoid);
            }
            Message::StoreVoid => self.payment = rules.void(self.payment),
        }
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
}

fn ready_or_ended(attempt: Attempt) -> ExecutorState {
    if attempt.next().is_none() {
        ExecutorState::Ended
    } else {
        ExecutorState::Ready(attempt)
    }
}

/// The executor after an outcome. It stores a transition before it goes on.
fn apply_outcome(rules: Rules, attempt: Attempt, outcome: StepOutcome) -> ExecutorState {
    let (after, transition) = rules.apply(attempt, outcome);
    if transition.is_some() {
        ExecutorState::Storing(after)
    } else {
        ready_or_ended(after)
    }
}

fn goods() -> Goods {
    Goods {
        product_id: String::new(),
        quantity: 1,
    }
}

fn message(rules: Rules, attempt: Attempt) -> Option<Message> {
    let epoch = attempt.state.epoch;
    match attempt.next()? {
        Step::Reserve => Some(Message::Reserve(epoch)),
        Step::Release => Some(Message::Release(rules.release_epoch(attempt.state))),
        Step::Charge => Some(Message::Charge),
        Step::Refund => Some(Message::Void),
        Step::QueryPayment | Step::Ship => None,
    }
}

/// Whether a change of an order is allowed: it never returns to an earlier status, and a final
/// status and the reason of a failure stay.
fn may_become(from: SagaState, to: SagaState) -> bool {
    use OrderStatus as Status;
    match (from.status, to.status) {
        (Status::Failed, Status::Failed) => from.failure_reason == to.failure_reason,
        (Status::Confirmed | Status::Failed, _)
        | (_, Status::Pending)
        | (Status::PendingPayment, Status::PendingInventory) => false,
        (Status::Pending | Status::PendingInventory | Status::PendingPayment, _) => true,
    }
}
