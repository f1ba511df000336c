//! The executors of the saga, and the operators who cancel and fulfil.

use valerix::domain::saga::{Attempt, CallFailure, SagaState, Step, StepOutcome};

use crate::network::Message;
use crate::rules::Rules;

/// An executor of the saga. The first worker is the one that takes the order over first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Executor {
    Request,
    FirstWorker,
    SecondWorker,
    /// Runs the attempt of the operator who cancels, and decides before it.
    Canceller,
    /// Runs the attempt of the operator who fulfils, and decides before it.
    Fulfiller,
}

pub const EXECUTORS: [Executor; 5] = [
    Executor::Request,
    Executor::FirstWorker,
    Executor::SecondWorker,
    Executor::Canceller,
    Executor::Fulfiller,
];

impl Executor {
    pub fn is_worker(self) -> bool {
        matches!(self, Self::FirstWorker | Self::SecondWorker)
    }

    /// The intervention of an operator's executor.
    pub fn intervention(self) -> Option<Intervention> {
        match self {
            Self::Canceller => Some(Intervention::Cancel),
            Self::Fulfiller => Some(Intervention::Fulfil),
            Self::Request | Self::FirstWorker | Self::SecondWorker => None,
        }
    }
}

/// An action of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intervention {
    Cancel,
    Fulfil,
}

/// The executors that act besides the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actors {
    /// Two workers.
    Workers,
    /// One worker, one operator who cancels, and one who fulfils.
    Operators,
}

impl Actors {
    /// The executors at the beginning. Those that never act have ended.
    pub fn executors(self) -> [ExecutorState; EXECUTORS.len()] {
        let request = ExecutorState::Ready(Attempt::new(SagaState::PLACED));
        let (second_worker, operator) = match self {
            Self::Workers => (ExecutorState::NotStarted, ExecutorState::Ended),
            Self::Operators => (ExecutorState::Ended, ExecutorState::NotStarted),
        };
        let first_worker = ExecutorState::NotStarted;
        [request, first_worker, second_worker, operator, operator]
    }
}

/// The state of an executor. It may stall in each state, because other actions may always come
/// first, and it may abort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExecutorState {
    NotStarted,
    /// An operator's executor has read the order and decided to change it.
    Decided {
        read: SagaState,
    },
    /// About to make its next step.
    Ready(Attempt),
    /// Has sent the message of its step.
    Waiting(Attempt),
    /// Has the answer, and is about to store the change that follows from it.
    Storing(Attempt),
    /// Has stopped, was fenced by a later attempt, or has aborted.
    Ended,
}

impl ExecutorState {
    pub fn ready_or_ended(attempt: Attempt) -> Self {
        if attempt.next().is_none() {
            Self::Ended
        } else {
            Self::Ready(attempt)
        }
    }

    /// The executor after an outcome. It stores a transition before it goes on.
    pub fn after_outcome(rules: Rules, attempt: Attempt, outcome: StepOutcome) -> Self {
        let (after, transition) = rules.apply(attempt, outcome);
        if transition.is_some() {
            Self::Storing(after)
        } else {
            Self::ready_or_ended(after)
        }
    }

    pub fn after_timeout(rules: Rules, attempt: Attempt) -> Self {
        let outcome = StepOutcome::CallFailed(CallFailure::TimedOut);
        Self::after_outcome(rules, attempt, outcome)
    }

    /// Whether the executor has sent the message of this step and waits for its answer.
    pub fn waits_for(self, step: Step) -> bool {
        matches!(self, Self::Waiting(attempt) if attempt.next() == Some(step))
    }
}

/// The message of an attempt's next step.
pub fn message(rules: Rules, attempt: Attempt) -> Option<Message> {
    let epoch = attempt.state.epoch;
    match attempt.next()? {
        Step::Reserve => Some(Message::Reserve(epoch)),
        Step::Release => Some(Message::Release(rules.release_epoch(attempt.state))),
        Step::Charge => Some(Message::Charge),
        Step::Refund => Some(Message::Void),
        Step::Ship => Some(Message::Ship(epoch)),
        Step::QueryPayment => None,
    }
}
