//! Injects faults into the calls that the service makes.

use super::gremlin::Gremlin;
use super::rule::Outcome;
use super::spec::{Direction, RequestView};
use crate::platform::client::{CallError, Response};
use crate::platform::deadline::Deadline;

const INTERRUPTED: &str = "the gremlin closed the connection";

/// A call to another service.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    pub dependency: &'a str,
    pub method: &'a str,
    pub route: &'a str,
    pub deadline: Deadline,
}

impl Gremlin {
    /// Makes a call, with the faults that the rules decide on. `product` is called only if a rule is
    /// about a product.
    ///
    /// # Errors
    /// Those of the call, and those that the gremlin injects.
    pub async fn call(
        &self,
        call: Call<'_>,
        product: impl FnOnce() -> Option<String>,
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
        let product = if self.needs_product(view) {
            product()
        } else {
            None
        };
        let decision = self.evaluate(view, product.as_deref());
        let remaining = call.deadline.remaining();
        decision.wait(remaining).await;
        if decision.delay > remaining {
            return Err(CallError::TimedOut);
        }
        match decision.outcome {
            None => send.await,
            Some(Outcome::Error(status)) => Ok(Response::injected(status)),
            Some(Outcome::Drop) => Err(CallError::Interrupted(INTERRUPTED.to_owned())),
            Some(Outcome::Hang) => {
                tokio::time::sleep(call.deadline.remaining()).await;
                Err(CallError::TimedOut)
            }
            Some(Outcome::Vanish) => {
                let answered = send.await.is_ok();
                tracing::warn!(answered, "called; the gremlin drops the response");
                Err(CallError::Interrupted(INTERRUPTED.to_owned()))
            }
            Some(Outcome::Crash) => {
                let answered = send.await.is_ok();
                tracing::error!(answered, "called; the gremlin aborts the process");
                std::process::abort()
            }
        }
    }
}
