//! The state of the whole system, and the actions that change it.

use valerix::api::OrderStatus;
use valerix::domain::saga::{Attempt, CallFailure, MAX_EPOCH, SagaState, StepOutcome};

use crate::changes::{Acknowledged, attempts_may, is_cancelled, operators_may};
use crate::executor::{Actors, EXECUTORS, Executor, ExecutorState, Intervention, message};
use crate::network::{Message, Sent};
use crate::retention::{Retention, RetentionAction};
use crate::rules::Rules;
use crate::services::Services;

/// More steps than an undisturbed attempt takes. After this many, it has entered an endless loop.
const MAX_STEPS: usize = 20;

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
    /// An operator's executor reads the order, and decides whether to change it.
    Decide(Executor),
    /// The change of an operator's executor reaches the order's database.
    Intervene(Executor),
    /// A standby that lacks the last takeover becomes the order's database.
    FailOver,
    Retention(RetentionAction),
}

/// A fault besides aborts, and delays, losses and repetitions of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hazard {
    None,
    /// The order's database fails over to a standby, and loses commits that were acknowledged.
    LossyFailover,
    /// Another client reserves stock for the order, at the highest possible epoch.
    ForeignReserve,
    /// Retention deletes the order days after its end, and messages and attempts are days late.
    Retention,
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
    executors: [ExecutorState; EXECUTORS.len()],
    pub sent: Sent,
    /// Those of the messages that were dated after the order had become old.
    pub fresh: Sent,
    pub retention: Retention,
    pub services: Services,
    pub acknowledged: Acknowledged,
    /// A stored change of the order's status that is not allowed.
    pub forbidden_change: Option<(OrderStatus, OrderStatus)>,
}

impl System {
    pub fn new(would_approve: bool, actors: Actors, hazard: Hazard) -> Self {
        let mut sent = Sent::default();
        if hazard == Hazard::ForeignReserve {
            sent.add(Message::Reserve(MAX_EPOCH));
        }
        let standby = match hazard {
            Hazard::LossyFailover => Standby::Behind(SagaState::PLACED),
            Hazard::None | Hazard::ForeignReserve | Hazard::Retention => Standby::Absent,
        };
        let retention = match hazard {
            Hazard::Retention => Retention::Young,
            Hazard::None | Hazard::LossyFailover | Hazard::ForeignReserve => Retention::Off,
        };
        Self {
            order: SagaState::PLACED,
            standby,
            executors: actors.executors(),
            sent,
            fresh: Sent::default(),
            retention,
            services: Services::new(would_approve),
            acknowledged: Acknowledged::default(),
            forbidden_change: None,
        }
    }

    pub fn executor(&self, executor: Executor) -> ExecutorState {
        self.executors[executor as usize]
    }

    pub fn actions(&self, actions: &mut Vec<Action>) {
        if self.services.stock > 0 {
            actions.push(Action::CompetitorReserves);
        }
        if self.services.competitor > 0 {
            actions.push(Action::CompetitorReleases);
        }
        if !self.order.is_settled() && self.next_worker().is_some() {
            actions.push(Action::Claim);
        }
        if matches!(self.standby, Standby::Behind(order) if order != self.order) {
            actions.push(Action::FailOver);
        }
        actions.extend(self.sent.messages().map(Action::Deliver));
        let mut of_retention = Vec::new();
        self.retention_actions(&mut of_retention);
        actions.extend(of_retention.into_iter().map(Action::Retention));
        for executor in EXECUTORS {
            self.actions_of(executor, actions);
        }
    }

    fn actions_of(&self, executor: Executor, actions: &mut Vec<Action>) {
        match self.executor(executor) {
            ExecutorState::Ended => return,
            ExecutorState::NotStarted => {
                if executor.intervention().is_some() {
                    actions.push(Action::Decide(executor));
                }
                return;
            }
            ExecutorState::Decided { .. } => actions.push(Action::Intervene(executor)),
            ExecutorState::Ready(attempt) => {
                actions.push(Action::Send(executor));
                let took_over_now = executor.is_worker() && attempt == Attempt::new(attempt.state);
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

    pub fn perform_action(&mut self, rules: Rules, action: Action) {
        match action {
            Action::CompetitorReserves => {
                self.services.stock -= 1;
                self.services.competitor += 1;
            }
            Action::CompetitorReleases => {
                self.services.stock += 1;
                self.services.competitor -= 1;
            }
            Action::Claim => self.claim(rules),
            Action::FailOver => self.fail_over(),
            Action::Retention(action) => self.perform_retention(action),
            Action::Deliver(message) => self.deliver(rules, message),
            Action::Send(executor)
            | Action::Answer(executor)
            | Action::TimeOut(executor)
            | Action::Expire(executor)
            | Action::Store(executor)
            | Action::Abort(executor) => {
                let state = self.executor(executor);
                self.executors[executor as usize] = self.execute(rules, state, action);
            }
            Action::Decide(executor) | Action::Intervene(executor) => {
                if let Some(asked) = executor.intervention() {
                    let state = self.executor(executor);
                    self.executors[executor as usize] = self.operate(rules, asked, state);
                }
            }
        }
    }

    fn next_worker(&self) -> Option<Executor> {
        EXECUTORS.into_iter().find(|executor| {
            executor.is_worker() && self.executor(*executor) == ExecutorState::NotStarted
        })
    }

    fn claim(&mut self, rules: Rules) {
        if let Some(worker) = self.next_worker() {
            self.take_over(rules.claim(self.order));
            let attempt = Attempt::new(self.order);
            self.executors[worker as usize] = ExecutorState::ready_or_ended(attempt);
        }
    }

    fn take_over(&mut self, state: SagaState) {
        if let Standby::Behind(_) = self.standby {
            self.standby = Standby::Behind(self.order);
        }
        self.order = state;
    }

    fn fail_over(&mut self) {
        if let Standby::Behind(order) = self.standby {
            (self.order, self.standby) = (order, Standby::Promoted);
            // No protocol can keep what the database has lost.
            if !is_cancelled(order) {
                self.acknowledged.cancelled_in = None;
            }
            self.acknowledged.shipment &= order.shipment_owed || order.fulfilled;
        }
    }

    /// One action of one executor. Any other action may happen before its next one.
    fn execute(&mut self, rules: Rules, state: ExecutorState, action: Action) -> ExecutorState {
        match (state, action) {
            (ExecutorState::Ready(attempt), Action::Send(_)) => {
                if let Some(message) = message(rules, attempt) {
                    self.sent.add(message);
                    // Every attempt has begun before the order became old.
                    if self.retention.is_old() && !rules.dates_by_attempt() {
                        self.fresh.add(message);
                    }
                }
                ExecutorState::Waiting(attempt)
            }
            (ExecutorState::Ready(attempt), Action::Expire(_)) => {
                ExecutorState::after_outcome(rules, attempt, StepOutcome::Expired)
            }
            (ExecutorState::Waiting(attempt), Action::Answer(_)) => {
                let message = message(rules, attempt);
                let outcome = if message.is_none_or(|message| self.accepts(rules, message)) {
                    self.services.call(rules, message)
                } else {
                    StepOutcome::CallFailed(CallFailure::Rejected)
                };
                ExecutorState::after_outcome(rules, attempt, outcome)
            }
            (ExecutorState::Waiting(attempt), Action::TimeOut(_)) => {
                ExecutorState::after_timeout(rules, attempt)
            }
            (ExecutorState::Storing(attempt), Action::Store(_))
                if self.store(rules, attempt.state) =>
            {
                ExecutorState::ready_or_ended(attempt)
            }
            _ => ExecutorState::Ended,
        }
    }

    /// One action of an operator's executor, before its attempt. A refusal changes nothing, and
    /// the operator may ask again.
    fn operate(
        &mut self,
        rules: Rules,
        asked: Intervention,
        state: ExecutorState,
    ) -> ExecutorState {
        match state {
            ExecutorState::NotStarted => match rules.decide(asked, self.order) {
                Ok(Some(next)) if !rules.records_first(asked) => {
                    let unrecorded = SagaState {
                        epoch: self.order.epoch,
                        ..next
                    };
                    ExecutorState::Ready(Attempt::new(unrecorded))
                }
                Ok(Some(_)) => ExecutorState::Decided { read: self.order },
                Ok(None) | Err(_) => ExecutorState::NotStarted,
            },
            ExecutorState::Decided { read } => match rules.decide(asked, read) {
                Ok(Some(next)) if rules.may_intervene(self.order, read) => {
                    self.intervene(next);
                    ExecutorState::ready_or_ended(Attempt::new(next))
                }
                // The order has changed since it was read: the executor reads it again.
                _ => ExecutorState::NotStarted,
            },
            state => state,
        }
    }

    fn intervene(&mut self, next: SagaState) {
        let before = self.order;
        if !operators_may(before, next) {
            self.forbidden_change = Some((before.status, next.status));
        }
        if is_cancelled(next) {
            self.acknowledged.cancelled_in = Some(before.status);
        } else {
            self.acknowledged.shipment = true;
        }
        self.take_over(next);
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
            let outcome = system.services.call(rules, message(rules, attempt));
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
        let mut system = *self;
        loop {
            let before = system;
            for message in before.sent.messages() {
                system.deliver(rules, message);
                if system.services.stored_values() != self.services.stored_values() {
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
        if !attempts_may(self.order, state) {
            self.forbidden_change = Some((self.order.status, state.status));
        }
        // A statement that stores a transition never moves the epoch.
        self.order = SagaState {
            epoch: self.order.epoch,
            ..state
        };
        true
    }

    fn accepts(&self, rules: Rules, message: Message) -> bool {
        rules.accepts(self.retention, message, self.fresh.contains(message))
    }

    fn deliver(&mut self, rules: Rules, message: Message) {
        if !self.accepts(rules, message) {
            return;
        }
        if let Some(follow_up) = self.services.deliver(rules, message) {
            self.sent.add(follow_up);
        }
    }
}
