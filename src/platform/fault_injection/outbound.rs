//! Injects faults into the calls that the service makes.

use super::gremlin::Gremlin;
use super::rule::Outcome;
use super::spec::{Direction, RequestView};
use crate::platform::client::{CallError, Response};
use crate::platform::deadline::Deadline;

const CONNECTION_CLOSED: &str = "the gremlin closed the connection";

/// A call to another service.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    pub dependency: &'a str,
    pub method: &'a str,
    pub route: &'a str,
    pub deadline: Deadline,
}

impl Gremlin {
    /// Makes a call, and injects the faults that the rules decide on. `product_id` is called only
    /// if a rule depends on the product.
    ///
    /// # Errors
    /// Those of the call, and injected ones.
    pub async fn call(
        &self,
        call: Call<'_>,
        product_id: impl FnOnce() -> Option<String>,
        send: impl Future<Output = Result<Response, CallError>>,
    ) -> Result<Response, CallError> {
        if self.is_idle() {
            return send.await;
        }
        let view = RequestView {
            direction: Direction::Outbound,
            dependency: Some(call.dependency),
            method: call.method,
            route: call.route,
            path: call.route,
        };
        let product_id = if self.needs_product(view) {
            product_id()
        } else {
            None
        };
        let decision = self.evaluate(view, product_id.as_deref());
        let remaining = call.deadline.remaining();
        decision.wait(remaining).await;
        if decision.delay > remaining {
            return Err(CallError::TimedOut);
        }
        match decision.outcome {
            None => send.await,
            Some(Outcome::Error(status)) => Ok(Response::injected(status)),
            Some(Outcome::Drop) => Err(CallError::Interrupted(CONNECTION_CLOSED.to_owned())),
            Some(Outcome::Hang) => {
                tokio::time::sleep(call.deadline.remaining()).await;
                Err(CallError::TimedOut)
            }
            Some(Outcome::Vanish) => {
                let has_response = send.await.is_ok();
                tracing::warn!(has_response, "called; the gremlin drops the response");
                Err(CallError::Interrupted(CONNECTION_CLOSED.to_owned()))
            }
            Some(Outcome::Crash) => {
                let has_response = send.await.is_ok();
                tracing::error!(has_response, "called; the gremlin aborts the process");
                std::process::abort()
            }
        }
    }
}
