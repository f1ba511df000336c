//! The outcomes of requests to place an order. Nothing here does I/O.

use std::fmt;

use super::api_client::Answer;

/// Facts about the request that are needed to interpret its response.
#[derive(Debug, Clone, Copy)]
pub struct RequestFacts {
    /// Whether the request has an idempotency key.
    pub keyed: bool,
    /// Whether the request is the first try of its customer.
    pub first: bool,
}

/// The outcome of one request, as far as the customer knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// 201
    Confirmed,
    /// 202
    Pending,
    /// 402
    Declined,
    /// 409 `insufficient-stock`
    OutOfStock,
    /// 409 `cancelled`
    Cancelled,
    /// 422 `unknown-product`
    UnknownProduct,
    /// 409: an earlier request with the same key is in progress.
    InFlight,
    /// 503 with `Retry-After`: no order is stored, and none will be.
    Rejected,
    /// 503 `outcome-unknown` with the order's id: the order may or may not be stored.
    Unknown,
    /// The connection broke or timed out, or the gremlin answered in place of the service.
    NoAnswer,
    /// A response that the API does not allow.
    Unexpected(u16),
}

impl Outcome {
    #[must_use]
    pub fn of(answer: &Answer, facts: RequestFacts) -> Self {
        let unexpected = Self::Unexpected(answer.status);
        // Without a key there are no replays, and the first try has nothing to repeat.
        if answer.replayed && (!facts.keyed || facts.first) {
            return unexpected;
        }
        match (answer.status, answer.code().as_deref()) {
            // The gremlin sends this without running the handler, which a customer cannot know.
            (_, Some("injected-fault")) => Self::NoAnswer,
            (201, _) => Self::Confirmed,
            (202, _) => Self::Pending,
            (402, _) => Self::Declined,
            (409, Some("insufficient-stock")) => Self::OutOfStock,
            (409, Some("cancelled")) => Self::Cancelled,
            (422, Some("unknown-product")) => Self::UnknownProduct,
            (409, Some("idempotency-key-in-flight")) if facts.keyed => Self::InFlight,
            (503, Some("outcome-unknown")) => {
                let retry_after_is_allowed = !answer.retry_after || facts.keyed;
                if answer.order_id().is_some() && retry_after_is_allowed {
                    Self::Unknown
                } else {
                    unexpected
                }
            }
            (503, _) if answer.retry_after => Self::Rejected,
            _ => unexpected,
        }
    }

    /// The order's final status and failure reason; `None` if the response says neither.
    #[must_use]
    pub const fn final_state(self) -> Option<(&'static str, Option<&'static str>)> {
        match self {
            Self::Confirmed => Some(("CONFIRMED", None)),
            Self::Declined => Some(("FAILED", Some("payment-declined"))),
            Self::OutOfStock => Some(("FAILED", Some("insufficient-stock"))),
            Self::Cancelled => Some(("FAILED", Some("cancelled"))),
            Self::UnknownProduct => Some(("FAILED", Some("unknown-product"))),
            Self::Pending
            | Self::InFlight
            | Self::Rejected
            | Self::Unknown
            | Self::NoAnswer
            | Self::Unexpected(_) => None,
        }
    }

    #[must_use]
    pub const fn is_final(self) -> bool {
        self.final_state().is_some()
    }

    /// Whether the response says that an order is stored.
    #[must_use]
    pub const fn acknowledges(self) -> bool {
        self.is_final() || matches!(self, Self::Pending)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Confirmed => f.write_str("201 confirmed"),
            Self::Pending => f.write_str("202 pending"),
            Self::Declined => f.write_str("402 payment declined"),
            Self::OutOfStock => f.write_str("409 out of stock"),
            Self::Cancelled => f.write_str("409 cancelled"),
            Self::UnknownProduct => f.write_str("422 unknown product"),
            Self::InFlight => f.write_str("409 key in flight"),
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
    use uuid::Uuid;

    use super::*;

    const UNKEYED: RequestFacts = RequestFacts {
        keyed: false,
        first: true,
    };
    const KEYED: RequestFacts = RequestFacts {
        keyed: true,
        first: true,
    };
    const KEYED_AGAIN: RequestFacts = RequestFacts {
        keyed: true,
        first: false,
    };

    fn unavailable(code: &str, order_id: Option<u128>, retry_after: bool) -> Answer {
        let order_id = order_id.map(Uuid::from_u128);
        Answer {
            status: 503,
            body: json!({"code": code, "order_id": order_id}),
            retry_after,
            ..Answer::default()
        }
    }

    #[test]
    fn a_503_with_retry_after_is_a_rejection_and_one_without_is_unexpected() {
        for facts in [UNKEYED, KEYED] {
            let rejected = unavailable("database-unavailable", None, true);
            assert_eq!(Outcome::of(&rejected, facts), Outcome::Rejected);
            let without_retry = unavailable("database-unavailable", None, false);
            assert_eq!(Outcome::of(&without_retry, facts), Outcome::Unexpected(503));
        }
    }

    #[test]
    fn an_unknown_outcome_must_have_an_order_id() {
        for facts in [UNKEYED, KEYED] {
            let named = unavailable("outcome-unknown", Some(1), false);
            assert_eq!(Outcome::of(&named, facts), Outcome::Unknown);
            let unnamed = unavailable("outcome-unknown", None, false);
            assert_eq!(Outcome::of(&unnamed, facts), Outcome::Unexpected(503));
        }
    }

    #[test]
    fn an_unknown_outcome_may_ask_for_a_retry_only_with_a_key() {
        let retry = unavailable("outcome-unknown", Some(1), true);
        assert_eq!(Outcome::of(&retry, KEYED), Outcome::Unknown);
        assert_eq!(Outcome::of(&retry, UNKEYED), Outcome::Unexpected(503));
    }

    #[test]
    fn only_a_later_try_with_a_key_is_a_replay() {
        let replay = Answer {
            status: 201,
            replayed: true,
            ..Answer::default()
        };
        assert_eq!(Outcome::of(&replay, KEYED_AGAIN), Outcome::Confirmed);
        assert_eq!(Outcome::of(&replay, KEYED), Outcome::Unexpected(201));
        assert_eq!(
            Outcome::of(
                &replay,
                RequestFacts {
                    first: false,
                    ..UNKEYED
                }
            ),
            Outcome::Unexpected(201)
        );
    }

    #[test]
    fn the_code_decides_the_meaning_of_409_422_and_500() {
        let problem = |status, code: &str| Answer {
            status,
            body: json!({"code": code}),
            ..Answer::default()
        };
        for (status, code, keyed, unkeyed) in [
            (
                409,
                "insufficient-stock",
                Outcome::OutOfStock,
                Outcome::OutOfStock,
            ),
            (
                409,
                "idempotency-key-in-flight",
                Outcome::InFlight,
                Outcome::Unexpected(409),
            ),
            (409, "cancelled", Outcome::Cancelled, Outcome::Cancelled),
            (
                422,
                "unknown-product",
                Outcome::UnknownProduct,
                Outcome::UnknownProduct,
            ),
            (
                422,
                "idempotency-key-reused",
                Outcome::Unexpected(422),
                Outcome::Unexpected(422),
            ),
            (
                500,
                "internal-error",
                Outcome::Unexpected(500),
                Outcome::Unexpected(500),
            ),
            (500, "injected-fault", Outcome::NoAnswer, Outcome::NoAnswer),
        ] {
            assert_eq!(Outcome::of(&problem(status, code), KEYED), keyed, "{code}");
            assert_eq!(
                Outcome::of(&problem(status, code), UNKEYED),
                unkeyed,
                "{code}"
            );
        }
    }
}
