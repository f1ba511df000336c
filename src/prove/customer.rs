//! A customer of the campaign: the order that it places, what it was answered, and what operators
//! did with the order.

use uuid::Uuid;

use super::operators::OrderAction;
use super::outcome::Outcome;
use super::plan::PlannedOrder;
use super::stored_state::StoredOrder;

/// A try of a customer: one request that it sent, and the outcome.
#[derive(Debug, Clone)]
pub struct SentRequest {
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
    pub order: PlannedOrder,
    pub tries: Vec<SentRequest>,
    /// The operator actions on the order.
    pub actions: Vec<OrderAction>,
}

impl Customer {
    /// The last try that acknowledged the order; if none did, the last try.
    #[must_use]
    pub fn last_answer(&self) -> Option<&SentRequest> {
        self.tries
            .iter()
            .rfind(|sent| sent.outcome.acknowledges())
            .or(self.tries.last())
    }

    /// Whether this try, or with a key any try of this customer, created the order.
    pub fn created(&self, order: &StoredOrder, sent: &SentRequest) -> bool {
        let has_trace = |sent: &SentRequest| order.trace_id.as_ref() == Some(&sent.trace_id);
        if self.order.key.is_some() {
            self.tries.iter().any(has_trace)
        } else {
            has_trace(sent)
        }
    }
}
