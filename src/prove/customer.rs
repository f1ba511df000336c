//! A customer of the campaign: the order that it places, and what it was answered.

use uuid::Uuid;

use super::outcome::Outcome;
use super::plan::Request;
use super::stored_state::StoredOrder;

/// One HTTP request of a customer, and its outcome.
#[derive(Debug, Clone)]
pub struct Try {
    /// The trace id that the request carried in its `traceparent`. No two tries share one. The row
    /// of an order stores the trace id of the request that created it.
    pub trace_id: String,
    pub outcome: Outcome,
    /// The order's id in the response.
    pub order_id: Option<Uuid>,
    /// The `code` of a problem document.
    pub code: Option<String>,
}

/// A customer with all its tries, oldest first.
#[derive(Debug, Clone)]
pub struct Customer {
    pub request: Request,
    pub tries: Vec<Try>,
}

impl Customer {
    /// The last try that acknowledged the order; if none did, the last try.
    #[must_use]
    pub fn last_answer(&self) -> Option<&Try> {
        self.tries
            .iter()
            .rfind(|attempt| attempt.outcome.acknowledges())
            .or(self.tries.last())
    }

    /// Whether the response to this try may speak of the order. With an idempotency key, any of the
    /// customer's tries may have created the order; without one, only this try.
    pub fn may_have_created(&self, order: &StoredOrder, attempt: &Try) -> bool {
        let created = |attempt: &Try| order.trace_id.as_ref() == Some(&attempt.trace_id);
        if self.request.key.is_some() {
            self.tries.iter().any(created)
        } else {
            created(attempt)
        }
    }
}
