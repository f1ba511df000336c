use super::*;
use crate::api::OrderStatus as S;

/// An attempt and what it did on its way.
struct Run {
    /// The steps, then `None` if the attempt has ended.
    steps: Vec<Option<Step>>,
    state: SagaState,
    reasons: Vec<&'static str>,
}

impl Run {
    /// Applies the outcomes in turn.
    fn of(state: SagaState, outcomes: &[StepOutcome]) -> Self {
        let mut attempt = Attempt::new(state);
        let (mut steps, mut reasons) = (Vec::new(), Vec::new());
        for outcome in outcomes {
            steps.push(attempt.next());
            let (after, transition) = attempt.apply(*outcome);
            reasons.extend(transition.map(|transition| transition.reason.as_str()));
            attempt = after;
        }
        steps.push(attempt.next());
        Self {
            steps,
            state: attempt.state,
            reasons,
        }
    }

    /// Whether these were the steps, after which the attempt ended.
    fn made(&self, steps: &[Step]) -> bool {
        let ended = steps.iter().copied().map(Some).chain([None]);
        self.steps.iter().copied().eq(ended)
    }

    fn has_ended(&self) -> bool {
        self.steps.last() == Some(&None)
    }
}

fn taken_over(status: S) -> SagaState {
    SagaState {
        status,
        epoch: 2,
        ..SagaState::PLACED
    }
}

#[test]
fn a_reserve_and_a_charge_confirm_the_order() {
    let run = Run::of(
        SagaState::PLACED,
        &[StepOutcome::Reserved, StepOutcome::Charged],
    );
    assert!(run.made(&[Step::Reserve, Step::Charge]));
    assert_eq!(
        (run.state.status, run.state.is_settled()),
        (S::Confirmed, true)
    );
    assert_eq!(run.reasons, ["confirmed"]);
}

#[test]
fn an_unknown_outcome_of_a_reserve_leaves_the_order_to_recovery() {
    let run = Run::of(
        SagaState::PLACED,
        &[StepOutcome::CallFailed(CallFailure::TimedOut)],
    );
    assert!(run.made(&[Step::Reserve]));
    assert_eq!(
        (run.state.status, run.state.release_owed_epoch),
        (S::PendingInventory, None)
    );
}

#[test]
fn an_unknown_outcome_of_a_charge_releases_the_stock_in_the_same_attempt() {
    let run = Run::of(
        SagaState::PLACED,
        &[
            StepOutcome::Reserved,
            StepOutcome::CallFailed(CallFailure::TimedOut),
            StepOutcome::Released {
                units_returned: true,
            },
        ],
    );
    assert!(run.made(&[Step::Reserve, Step::Charge, Step::Release]));
    assert_eq!(
        (
            run.state.status,
            run.state.release_owed_epoch,
            run.state.is_settled()
        ),
        (S::PendingPayment, None, false)
    );
    assert_eq!(run.reasons, ["payment-timed-out", "stock-returned"]);
}

#[test]
fn a_release_that_fails_stays_owed() {
    let run = Run::of(
        SagaState::PLACED,
        &[
            StepOutcome::Reserved,
            StepOutcome::Declined,
            StepOutcome::CallFailed(CallFailure::TimedOut),
        ],
    );
    assert!(run.has_ended());
    assert_eq!(
        (
            run.state.status,
            run.state.release_owed_epoch,
            run.state.is_settled()
        ),
        (S::Failed, Some(1), false)
    );
}

#[test]
fn out_of_stock_owes_a_release_and_in_a_takeover_a_refund_too() {
    let placed = Run::of(SagaState::PLACED, &[StepOutcome::InsufficientStock]).state;
    assert_eq!(
        (
            placed.failure_reason,
            placed.release_owed_epoch,
            placed.refund_owed
        ),
        (Some(FailureReason::InsufficientStock), Some(1), false)
    );
    let taken = Run::of(
        taken_over(S::PendingInventory),
        &[StepOutcome::InsufficientStock],
    )
    .state;
    assert_eq!(
        (taken.release_owed_epoch, taken.refund_owed),
        (Some(2), true)
    );
    let settled = Run::of(
        taken,
        &[
            StepOutcome::Released {
                units_returned: true,
            },
            StepOutcome::Refunded(RefundOutcome::Refunded),
        ],
    );
    assert!(settled.made(&[Step::Release, Step::Refund]));
    assert!(settled.state.is_settled());
}

#[test]
fn a_takeover_of_a_pending_payment_asks_payment_before_stock_moves() {
    for known in [StepOutcome::Charged, StepOutcome::NotCharged] {
        let run = Run::of(
            taken_over(S::PendingPayment),
            &[known, StepOutcome::Reserved, StepOutcome::Charged],
        );
        assert!(run.made(&[Step::QueryPayment, Step::Reserve, Step::Charge]));
        assert_eq!(run.state.status, S::Confirmed);
    }
    let unknown = Run::of(
        taken_over(S::PendingPayment),
        &[StepOutcome::CallFailed(CallFailure::TimedOut)],
    );
    assert!(unknown.has_ended());
    assert_eq!(unknown.state.status, S::PendingPayment);
    let declined = Run::of(taken_over(S::PendingPayment), &[StepOutcome::Declined]).state;
    assert_eq!(
        (declined.status, declined.release_owed_epoch),
        (S::Failed, Some(2))
    );
    let not_reserved = Run::of(
        taken_over(S::PendingPayment),
        &[
            StepOutcome::Charged,
            StepOutcome::CallFailed(CallFailure::TimedOut),
        ],
    );
    assert_eq!(
        not_reserved.state.status,
        S::PendingPayment,
        "the order may have been charged: the next attempt asks payment first again"
    );
}

#[test]
fn a_failed_order_releases_at_the_highest_epoch_and_a_pending_one_at_its_own() {
    let pending = SagaState {
        release_owed_epoch: Some(2),
        ..taken_over(S::PendingPayment)
    };
    assert_eq!(pending.release_epoch(), 2);
    assert_eq!(
        pending.failed(FailureReason::Expired, true).release_epoch(),
        MAX_EPOCH
    );
}

#[test]
fn a_final_status_is_never_left() {
    for status in OrderStatus::ALL {
        assert!(taken_over(S::PendingPayment).may_become(*status));
        for last in [S::Confirmed, S::Failed] {
            assert_eq!(taken_over(last).may_become(*status), *status == last);
        }
    }
}

#[test]
fn a_fenced_attempt_ends_and_changes_nothing() {
    for status in [
        S::Pending,
        S::PendingInventory,
        S::PendingPayment,
        S::Failed,
    ] {
        let state = SagaState {
            release_owed_epoch: Some(2),
            ..taken_over(status)
        };
        let (attempt, transition) = Attempt::new(state).apply(StepOutcome::Fenced);
        assert_eq!(
            (attempt.next(), attempt.state, transition),
            (None, state, None)
        );
    }
}

#[test]
fn an_expired_order_fails_and_owes_a_release_and_a_refund() {
    let run = Run::of(taken_over(S::PendingInventory), &[StepOutcome::Expired]);
    assert_eq!(
        (
            run.state.status,
            run.state.release_owed_epoch,
            run.state.refund_owed
        ),
        (S::Failed, Some(2), true)
    );
    assert_eq!(run.reasons, ["expired"]);
}

#[test]
fn no_outcome_changes_a_final_status() {
    let outcomes = [
        StepOutcome::Reserved,
        StepOutcome::InsufficientStock,
        StepOutcome::UnknownProduct,
        StepOutcome::Fenced,
        StepOutcome::Charged,
        StepOutcome::Declined,
        StepOutcome::NotCharged,
        StepOutcome::Released {
            units_returned: true,
        },
        StepOutcome::Refunded(RefundOutcome::Refunded),
        StepOutcome::Shipped,
        StepOutcome::CallFailed(CallFailure::TimedOut),
        StepOutcome::Expired,
    ];
    let failed = taken_over(S::Pending).failed(FailureReason::PaymentDeclined, true);
    for state in [taken_over(S::Confirmed), failed] {
        for outcome in outcomes {
            assert_eq!(
                Attempt::new(state).apply(outcome).0.state.status,
                state.status,
                "{outcome:?}"
            );
        }
    }
}

#[test]
fn a_cancelled_order_gets_its_money_back_although_its_release_fails() {
    let cancelled = taken_over(S::Confirmed).cancelled().unwrap().unwrap();
    let run = Run::of(
        cancelled,
        &[
            StepOutcome::CallFailed(CallFailure::NotCalled),
            StepOutcome::Refunded(RefundOutcome::Refunded),
        ],
    );
    assert!(run.made(&[Step::Release, Step::Refund]));
    assert_eq!(
        (run.state.release_owed_epoch, run.state.refund_owed),
        (Some(3), false)
    );
    assert_eq!(run.reasons, ["payment-refunded"]);
}

#[test]
fn the_goods_of_an_order_that_owes_a_shipment_leave_once() {
    let leaving = taken_over(S::Confirmed).with_shipment_owed().unwrap();
    let run = Run::of(leaving.unwrap(), &[StepOutcome::Shipped]);
    assert!(run.made(&[Step::Ship]));
    assert_eq!(
        (run.state.fulfilled, run.state.is_settled(), run.state.epoch),
        (true, true, 3)
    );
    assert_eq!(run.reasons, ["fulfilled"]);
    for failed in [
        StepOutcome::CallFailed(CallFailure::TimedOut),
        StepOutcome::CallFailed(CallFailure::Rejected),
        StepOutcome::Fenced,
    ] {
        let run = Run::of(leaving.unwrap(), &[failed]);
        assert!(run.has_ended() && run.state.shipment_owed, "{failed:?}");
    }
}

#[test]
fn the_reason_of_a_change_says_what_happened_to_the_call() {
    let reason = |failure| {
        let reserve = Run::of(SagaState::PLACED, &[StepOutcome::CallFailed(failure)]);
        let charge = [StepOutcome::Reserved, StepOutcome::CallFailed(failure)];
        let charge = Run::of(SagaState::PLACED, &charge);
        (reserve.reasons[0], charge.reasons[0])
    };
    let expected = |name| (format!("inventory-{name}"), format!("payment-{name}"));
    for (failure, name) in [
        (CallFailure::TimedOut, "timed-out"),
        (CallFailure::ConnectionLost, "connection-lost"),
        (CallFailure::ConnectionRefused, "connection-refused"),
        (CallFailure::NotCalled, "not-called"),
        (CallFailure::Rejected, "rejected"),
        (CallFailure::Failed, "failed"),
    ] {
        let (reserve, charge) = reason(failure);
        assert_eq!((reserve.to_owned(), charge.to_owned()), expected(name));
    }
}

#[test]
fn stock_that_was_not_held_is_not_returned() {
    let failed = taken_over(S::Pending).failed(FailureReason::Expired, false);
    let reason =
        |units_returned| Run::of(failed, &[StepOutcome::Released { units_returned }]).reasons[0];
    assert_eq!(
        (reason(true), reason(false)),
        ("stock-returned", "no-stock-held")
    );
}

#[test]
fn a_query_that_finds_a_declined_charge_was_answered() {
    let result = |step| StepOutcome::Declined.call_result(step);
    assert_eq!(result(Step::QueryPayment), CallResult::Ok);
    assert_eq!(result(Step::Charge), CallResult::Rejected);
}
