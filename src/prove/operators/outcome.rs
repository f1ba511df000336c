//! The outcomes of operators' requests. Nothing here does I/O.

use std::fmt;

use crate::prove::api_client::Answer;
use crate::prove::plan::OperatorAction;

/// The outcome of one request about an order, as far as the operator knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActionOutcome {
    /// 200: the order is cancelled, its goods have left, or it was tried again.
    Done,
    /// 202: the goods will leave.
    ShipmentOwed,
    /// 409 `already-failed`
    AlreadyFailed,
    /// 409 `already-fulfilled`
    AlreadyFulfilled,
    /// 409 `not-confirmed`
    NotConfirmed,
    /// 404
    UnknownOrder,
    /// 503 with `Retry-After`: nothing was changed, and nothing will be.
    Rejected,
    /// 503 `outcome-unknown`
    Unknown,
    /// The connection broke or timed out, or the gremlin answered in place of the service.
    NoAnswer,
    /// A response that the API does not allow.
    Unexpected(u16),
}

impl ActionOutcome {
    #[must_use]
    pub fn of(action: OperatorAction, answer: &Answer) -> Self {
        let unexpected = Self::Unexpected(answer.status);
        let order = &answer.body;
        let code = answer.code();
        match (answer.status, action, code.as_deref()) {
            // The gremlin sends this without running the handler, which an operator cannot know.
            (_, _, Some("injected-fault")) => Self::NoAnswer,
            (200, OperatorAction::Cancel, None)
                if order["status"] == "FAILED" && order["failure_reason"] == "cancelled" =>
            {
                Self::Done
            }
            (200, OperatorAction::Fulfil, None) if order["fulfilled_at"].is_string() => Self::Done,
            (200, OperatorAction::Retry, None) if answer.order_id().is_some() => Self::Done,
            (202, OperatorAction::Fulfil, None)
                if order["owes"] == serde_json::json!(["shipment"])
                    && answer.location
                    && answer.retry_after =>
            {
                Self::ShipmentOwed
            }
            (409, OperatorAction::Cancel, Some("already-failed")) => Self::AlreadyFailed,
            (409, OperatorAction::Cancel, Some("already-fulfilled")) => Self::AlreadyFulfilled,
            (409, OperatorAction::Fulfil, Some("not-confirmed")) => Self::NotConfirmed,
            (404, _, Some("not-found")) => Self::UnknownOrder,
            (503, _, Some("outcome-unknown"))
                if answer.order_id().is_some() && !answer.retry_after =>
            {
                Self::Unknown
            }
            (503, _, Some("outcome-unknown")) => unexpected,
            (503, ..) if answer.retry_after => Self::Rejected,
            _ => unexpected,
        }
    }

    /// Whether the action may have had its effect, now or later.
    #[must_use]
    pub const fn may_have_effect(self) -> bool {
        matches!(
            self,
            Self::Done | Self::ShipmentOwed | Self::Unknown | Self::NoAnswer
        )
    }

    /// Whether the request could not be decided, so that the operator sends it again.
    #[must_use]
    pub const fn is_undecided(self) -> bool {
        matches!(self, Self::Rejected | Self::Unknown | Self::NoAnswer)
    }
}

impl fmt::Display for ActionOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("200 done"),
            Self::ShipmentOwed => f.write_str("202 shipment owed"),
            Self::AlreadyFailed => f.write_str("409 already failed"),
            Self::AlreadyFulfilled => f.write_str("409 already fulfilled"),
            Self::NotConfirmed => f.write_str("409 not confirmed"),
            Self::UnknownOrder => f.write_str("404 unknown order"),
            Self::Rejected => f.write_str("503 rejected"),
            Self::Unknown => f.write_str("503 outcome unknown"),
            Self::NoAnswer => f.write_str("no answer"),
            Self::Unexpected(status) => write!(f, "{status} unexpected"),
        }
    }
}

/// The outcome of one request for a delivery, as far as the operator knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// 201
    Delivered,
    /// 200: an earlier request has delivered.
    DeliveredBefore,
    /// 409 `insufficient-stock`
    InsufficientStock,
    /// 404 `unknown-product`
    UnknownProduct,
    /// 422 `delivery-mismatch`
    Mismatch,
    /// 503 with `Retry-After`: nothing was delivered, and nothing will be.
    Rejected,
    /// 503 `outcome-unknown`
    Unknown,
    /// As [`ActionOutcome::NoAnswer`].
    NoAnswer,
    /// A response that the API does not allow.
    Unexpected(u16),
}

impl DeliveryOutcome {
    #[must_use]
    pub fn of(answer: &Answer) -> Self {
        let code = answer.code();
        match (answer.status, code.as_deref()) {
            (_, Some("injected-fault")) => Self::NoAnswer,
            (201, None) => Self::Delivered,
            (200, None) => Self::DeliveredBefore,
            (404, Some("unknown-product")) => Self::UnknownProduct,
            (409, Some("insufficient-stock")) => Self::InsufficientStock,
            (422, Some("delivery-mismatch")) => Self::Mismatch,
            (503, Some("outcome-unknown")) => Self::Unknown,
            (503, _) if answer.retry_after => Self::Rejected,
            (status, _) => Self::Unexpected(status),
        }
    }

    /// Whether the delivery may be stored, now or later.
    #[must_use]
    pub const fn may_have_effect(self) -> bool {
        self.acknowledges() || matches!(self, Self::Unknown | Self::NoAnswer)
    }

    /// Whether the response says that the delivery is stored.
    #[must_use]
    pub const fn acknowledges(self) -> bool {
        matches!(self, Self::Delivered | Self::DeliveredBefore)
    }

    /// As [`ActionOutcome::is_undecided`].
    #[must_use]
    pub const fn is_undecided(self) -> bool {
        matches!(self, Self::Rejected | Self::Unknown | Self::NoAnswer)
    }
}

impl fmt::Display for DeliveryOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delivered => f.write_str("201 delivered"),
            Self::DeliveredBefore => f.write_str("200 delivered before"),
            Self::InsufficientStock => f.write_str("409 insufficient stock"),
            Self::UnknownProduct => f.write_str("404 unknown product"),
            Self::Mismatch => f.write_str("422 mismatch"),
            Self::Rejected => f.write_str("503 rejected"),
            Self::Unknown => f.write_str("503 outcome unknown"),
            Self::NoAnswer => f.write_str("no answer"),
            Self::Unexpected(status) => write!(f, "{status} unexpected"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(status: u16, body: serde_json::Value) -> Answer {
        Answer {
            status,
            body,
            ..Answer::default()
        }
    }

    #[test]
    fn a_response_to_another_action_is_unexpected() {
        let cancelled = json!({"status": "FAILED", "failure_reason": "cancelled"});
        let left = json!({"status": "CONFIRMED", "fulfilled_at": "2026-01-01T00:00:00Z"});
        for (action, body, outcome) in [
            (OperatorAction::Cancel, &cancelled, ActionOutcome::Done),
            (OperatorAction::Fulfil, &left, ActionOutcome::Done),
            (
                OperatorAction::Cancel,
                &left,
                ActionOutcome::Unexpected(200),
            ),
            (
                OperatorAction::Fulfil,
                &cancelled,
                ActionOutcome::Unexpected(200),
            ),
        ] {
            let answer = answer(200, body.clone());
            assert_eq!(
                ActionOutcome::of(action, &answer),
                outcome,
                "{action} {body}"
            );
        }
        let conflict = |code: &str| answer(409, json!({"code": code}));
        let not_confirmed = conflict("not-confirmed");
        let of = |action| ActionOutcome::of(action, &not_confirmed);
        assert_eq!(of(OperatorAction::Fulfil), ActionOutcome::NotConfirmed);
        assert_eq!(of(OperatorAction::Cancel), ActionOutcome::Unexpected(409));
    }

    #[test]
    fn an_accepted_fulfilment_owes_the_shipment_and_asks_for_a_retry() {
        let mut accepted = answer(202, json!({"owes": ["shipment"]}));
        (accepted.location, accepted.retry_after) = (true, true);
        let of = |action, answer: &Answer| ActionOutcome::of(action, answer);
        assert_eq!(
            of(OperatorAction::Fulfil, &accepted),
            ActionOutcome::ShipmentOwed
        );
        assert_eq!(
            of(OperatorAction::Cancel, &accepted),
            ActionOutcome::Unexpected(202)
        );
        accepted.body = json!({"owes": []});
        assert_eq!(
            of(OperatorAction::Fulfil, &accepted),
            ActionOutcome::Unexpected(202)
        );
    }

    #[test]
    fn a_503_with_retry_after_is_a_rejection_unless_the_outcome_is_unknown() {
        let id = uuid::Uuid::nil();
        let mut problem = answer(503, json!({"code": "locked", "order_id": id}));
        let of = |answer: &Answer| ActionOutcome::of(OperatorAction::Cancel, answer);
        assert_eq!(of(&problem), ActionOutcome::Unexpected(503));
        problem.retry_after = true;
        assert_eq!(of(&problem), ActionOutcome::Rejected);
        problem.body = json!({"code": "outcome-unknown", "order_id": id});
        assert_eq!(of(&problem), ActionOutcome::Unexpected(503));
        assert_eq!(DeliveryOutcome::of(&problem), DeliveryOutcome::Unknown);
        problem.retry_after = false;
        assert_eq!(of(&problem), ActionOutcome::Unknown);
    }
}
