//! Cancels, fulfils and retries an order as operators would, and records every try.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::outcome::ActionOutcome;
use super::trace::traceparent;
use crate::prove::api_client::ApiClient;
use crate::prove::config::{MAX_TRIES, RETRY_INTERVAL};
use crate::prove::outcome::Outcome;
use crate::prove::plan::{OperatorAction, OperatorPlan, OperatorStart};

/// How often the operator looks for an order that its customer is placing.
const MAX_LOOKUPS: u32 = 20;
const LOOKUP_INTERVAL: Duration = Duration::from_millis(20);

/// An order as the operator has learned of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownOrder {
    pub id: Uuid,
    /// The answer to the customer; `None` if the operator found the order in the list.
    pub answered: Option<Outcome>,
}

impl KnownOrder {
    /// Whether the order was certainly stored when the operator learned of it.
    #[must_use]
    pub fn is_stored(self) -> bool {
        self.answered.is_none_or(Outcome::acknowledges)
    }

    fn may_become_confirmed(self) -> bool {
        self.answered.is_none_or(|outcome| !outcome.is_final())
    }
}

/// One request of an operator, and its outcome.
#[derive(Debug, Clone)]
pub struct ActionTry {
    pub outcome: ActionOutcome,
    /// The `code` of a problem document.
    pub code: Option<String>,
}

/// An action with all its tries, oldest first.
#[derive(Debug, Clone)]
pub struct OrderAction {
    pub action: OperatorAction,
    pub order: KnownOrder,
    pub tries: Vec<ActionTry>,
}

/// Waits until the operator knows the order, and performs what is planned. `trace_id` is that of
/// the customer's first request. `answer` yields the order when the customer learns its id.
pub async fn act(
    client: ApiClient,
    plan: OperatorPlan,
    trace_id: String,
    answer: oneshot::Receiver<KnownOrder>,
) -> Vec<OrderAction> {
    let known = match plan.start {
        OperatorStart::WhenListed => look_up(&client, &trace_id, answer).await,
        OperatorStart::AfterAnswer(delay) => {
            let known = answer.await.ok();
            tokio::time::sleep(delay).await;
            known
        }
    };
    let Some(order) = known else {
        return Vec::new();
    };
    let actions = plan.actions.iter().zip(0..);
    let actions = actions.map(async |(action, number): (&OperatorAction, u32)| {
        tokio::time::sleep(plan.interval * number).await;
        perform(&client, *action, order, plan.repeats).await
    });
    join_all(actions).await
}

/// Looks for the order in the list a few times, and otherwise waits for the customer's answer.
/// Returns `None` if the customer never learns the order's id.
async fn look_up(
    client: &ApiClient,
    trace_id: &str,
    mut answer: oneshot::Receiver<KnownOrder>,
) -> Option<KnownOrder> {
    for _ in 0..MAX_LOOKUPS {
        let orders = client.list_orders("limit=100").await;
        let orders = orders["orders"].as_array().cloned().unwrap_or_default();
        let listed = orders.iter().find(|order| order["trace_id"] == trace_id);
        if let Some(id) = listed.and_then(|order| order["id"].as_str()?.parse().ok()) {
            return Some(KnownOrder { id, answered: None });
        }
        if let Ok(known) = tokio::time::timeout(LOOKUP_INTERVAL, &mut answer).await {
            return known.ok();
        }
    }
    answer.await.ok()
}

async fn perform(
    client: &ApiClient,
    action: OperatorAction,
    order: KnownOrder,
    repeats: bool,
) -> OrderAction {
    let path = format!("/orders/{}/{action}", order.id);
    let mut tries = Vec::new();
    loop {
        tries.push(match client.post_to_order(&path, &traceparent()).await {
            Some(answer) => ActionTry {
                outcome: ActionOutcome::of(action, &answer),
                code: answer.code(),
            },
            None => ActionTry {
                outcome: ActionOutcome::NoAnswer,
                code: None,
            },
        });
        if !sends_again(order, &tries, repeats) {
            return OrderAction {
                action,
                order,
                tries,
            };
        }
        let pause = RETRY_INTERVAL * u32::try_from(tries.len()).unwrap_or(u32::MAX);
        tokio::time::sleep(pause).await;
    }
}

/// Whether the operator sends its request again. Repeating it is always safe.
fn sends_again(order: KnownOrder, tries: &[ActionTry], repeats: bool) -> bool {
    let Some(last) = tries.last().filter(|_| tries.len() < MAX_TRIES) else {
        return false;
    };
    let is_waiting = |outcome: ActionOutcome| match outcome {
        ActionOutcome::NotConfirmed => order.may_become_confirmed(),
        // The insert of the order may still wait for its commit.
        ActionOutcome::UnknownOrder => !order.is_stored(),
        outcome => outcome.is_undecided(),
    };
    match last.outcome {
        ActionOutcome::Unexpected(_) => false,
        outcome if is_waiting(outcome) => true,
        _ => {
            let answers = tries.iter().filter(|sent| !is_waiting(sent.outcome));
            repeats && answers.count() == 1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORED: KnownOrder = KnownOrder {
        id: Uuid::nil(),
        answered: Some(Outcome::Pending),
    };
    const UNKNOWN: KnownOrder = KnownOrder {
        id: Uuid::nil(),
        answered: Some(Outcome::Unknown),
    };
    const CONFIRMED: KnownOrder = KnownOrder {
        id: Uuid::nil(),
        answered: Some(Outcome::Confirmed),
    };

    fn sends_again_after(order: KnownOrder, repeats: bool, outcomes: &[ActionOutcome]) -> bool {
        let tries = outcomes.iter().map(|outcome| ActionTry {
            outcome: *outcome,
            code: None,
        });
        sends_again(order, &tries.collect::<Vec<_>>(), repeats)
    }

    #[test]
    fn a_request_is_sent_again_until_it_is_decided() {
        for outcome in [
            ActionOutcome::NoAnswer,
            ActionOutcome::Unknown,
            ActionOutcome::Rejected,
        ] {
            assert!(sends_again_after(STORED, false, &[outcome]), "{outcome}");
            let many = [outcome; MAX_TRIES];
            assert!(!sends_again_after(STORED, false, &many), "{outcome}");
        }
        for outcome in [
            ActionOutcome::Done,
            ActionOutcome::ShipmentOwed,
            ActionOutcome::AlreadyFailed,
            ActionOutcome::Unexpected(500),
        ] {
            assert!(!sends_again_after(STORED, false, &[outcome]), "{outcome}");
        }
    }

    #[test]
    fn a_pending_order_may_become_confirmed_and_an_unknown_one_may_be_stored() {
        let not_confirmed = [ActionOutcome::NotConfirmed];
        assert!(sends_again_after(STORED, false, &not_confirmed));
        assert!(!sends_again_after(CONFIRMED, false, &not_confirmed));
        let not_stored = [ActionOutcome::UnknownOrder];
        assert!(sends_again_after(UNKNOWN, false, &not_stored));
        assert!(!sends_again_after(STORED, false, &not_stored));
    }

    #[test]
    fn a_repetition_is_sent_after_the_first_answer_and_not_after_the_second() {
        let (done, no_answer) = (ActionOutcome::Done, ActionOutcome::NoAnswer);
        assert!(sends_again_after(STORED, true, &[no_answer, done]));
        assert!(sends_again_after(STORED, true, &[done, no_answer]));
        assert!(!sends_again_after(STORED, true, &[done, no_answer, done]));
    }
}
