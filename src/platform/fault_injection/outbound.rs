//! What is done to calls that the service makes, as seen by whoever makes them.

use super::gremlin::Gremlin;
use super::rule::{Direction, Ending, Subject};
use crate::platform::client::{Answer, CallError};
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
    /// Makes the call, unless the gremlin wants it otherwise. `product` is asked only where a rule
    /// looks for one.
    ///
    /// # Errors
    /// Those of the call, and those that the gremlin makes up.
    pub async fn around(
        &self,
        call: Call<'_>,
        product: impl FnOnce() -> Option<String>,
        send: impl Future<Output = Result<Answer, CallError>>,
    ) -> Result<Answer, CallError> {
        if self.is_idle() {
            return send.await;
        }
        let subject = Subject {
            direction: Direction::Outbound,
            dependency: Some(call.dependency),
            method: call.method,
            route: call.route,
            path: call.route,
        };
        let product = if self.asks_for_product(subject) {
            product()
        } else {
            None
        };
        let faults = self.meet(subject, product.as_deref());
        let remaining = call.deadline.remaining();
        faults.wait(remaining).await;
        if faults.delay > remaining {
            return Err(CallError::TimedOut);
        }
        match faults.ending {
            None => send.await,
            Some(Ending::Error(status)) => Ok(Answer::made_up(status)),
            Some(Ending::Drop) => Err(CallError::BrokenOff(INTERRUPTED.to_owned())),
            Some(Ending::Hang) => {
                tokio::time::sleep(call.deadline.remaining()).await;
                Err(CallError::TimedOut)
            }
            Some(Ending::Vanish) => {
                let answered = send.await.is_ok();
                tracing::warn!(answered, "called, and the answer vanishes");
                Err(CallError::BrokenOff(INTERRUPTED.to_owned()))
            }
            Some(Ending::Crash) => {
                let answered = send.await.is_ok();
                tracing::error!(answered, "called; the gremlin aborts the process");
                std::process::abort()
            }
        }
    }
}
