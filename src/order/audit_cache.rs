//! Shares audits between the callers of `GET /audit`.
//!
//! An audit reads every table, so at most one runs at a time. A caller that arrives while one runs
//! waits for the next one, together with all other callers that arrive meanwhile: the running audit
//! may have read a row before it changed. Only where audits take long can a caller get the result
//! of an audit that began before it arrived.
//!
//! An audit is a task of its own, so it goes on when a caller's connection closes. It has a
//! database connection of its own, so that it takes none of the pool from orders.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::audit::{self, Audit, AuditError, RemoteDatabases};
use crate::platform::db::DatabaseUrl;

#[cfg(test)]
mod tests;

/// The time that one audit may take.
const RUN_TIMEOUT: Duration = Duration::from_secs(30);
/// The time that a caller waits: for the audit that runs when it arrives, and for the next one.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);
/// The result of an audit that took no longer than this is never reused.
const MIN_REUSABLE_DURATION: Duration = Duration::from_millis(250);
/// A result is not reused once its audit began longer ago than this.
const MAX_REUSABLE_AGE: Duration = Duration::from_secs(10);

type Outcome = Result<Audit, AuditError>;
type RunAudit = Box<dyn Fn() -> BoxFuture<'static, Outcome> + Send + Sync>;
/// Sends the outcome of an audit to the callers that wait for it.
type OutcomeSender = watch::Sender<Option<Outcome>>;

/// One for the process, shared by its worker threads.
pub struct AuditCache {
    /// The runtime of the audits, which lives as long as the process. A caller's runtime ends with
    /// its worker thread.
    runtime: Handle,
    shared: Arc<Shared>,
}

struct Shared {
    run: RunAudit,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    is_running: bool,
    /// The audit that runs next, if a caller waits for it.
    next: Option<OutcomeSender>,
    last: Option<Finished>,
}

struct Finished {
    audit: Audit,
    started: Instant,
    took: Duration,
}

impl Finished {
    /// Whether callers get this result again. Dashboards poll, and without this, audits that take
    /// long would run all the time. A result is reused until its audit began twice as long ago as
    /// it took, so that audits run at most half of the time, but only up to [`MAX_REUSABLE_AGE`].
    fn is_reusable(&self) -> bool {
        self.took > MIN_REUSABLE_DURATION
            && self.started.elapsed() < (self.took * 2).min(MAX_REUSABLE_AGE)
    }
}

impl AuditCache {
    /// Must be called on the runtime that lives as long as the process.
    #[must_use]
    pub fn new(url: DatabaseUrl, remote: RemoteDatabases, bound: Duration) -> Self {
        Self::with(Box::new(move || {
            let (url, remote) = (url.clone(), remote.clone());
            async move { audit::run_within(RUN_TIMEOUT, &url, bound, &remote).await }.boxed()
        }))
    }

    fn with(run: RunAudit) -> Self {
        Self {
            runtime: Handle::current(),
            shared: Arc::new(Shared {
                run,
                state: Mutex::default(),
            }),
        }
    }

    /// The result of an audit that begins after the call, or a reusable one.
    ///
    /// # Errors
    /// See [`AuditError`]; `TimedOut` after [`WAIT_TIMEOUT`].
    pub async fn audit(&self) -> Outcome {
        let mut outcome = {
            let mut state = self.shared.state();
            if let Some(last) = state.last.as_ref().filter(|last| last.is_reusable()) {
                return Ok(last.audit.clone());
            }
            let outcome = state
                .next
                .get_or_insert_with(|| watch::channel(None).0)
                .subscribe();
            if !state.is_running {
                state.is_running = true;
                self.runtime.spawn(run_all(Arc::clone(&self.shared)));
            }
            outcome
        };
        let received = timeout(WAIT_TIMEOUT, outcome.wait_for(Option::is_some)).await;
        match received.map_err(|_| AuditError::TimedOut)? {
            Ok(outcome) => outcome.clone().unwrap_or(Err(AuditError::Aborted)),
            // The task has ended with its runtime.
            Err(_) => Err(AuditError::Aborted),
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the audit that runs next. An audit whose callers have all gone is not run.
    fn take_next(&self) -> Option<OutcomeSender> {
        let mut state = self.state();
        let next = state.next.take().filter(|sender| !sender.is_closed());
        state.is_running = next.is_some();
        next
    }
}

/// Runs one audit after the other, until no caller waits for one.
async fn run_all(shared: Arc<Shared>) {
    while let Some(sender) = shared.take_next() {
        let started = Instant::now();
        let outcome = AssertUnwindSafe((shared.run)()).catch_unwind().await;
        // A panic must not leave an audit marked as running for ever.
        let outcome = outcome.unwrap_or(Err(AuditError::Aborted));
        let took = started.elapsed();
        let finished = outcome.as_ref().ok().map(|audit| Finished {
            audit: audit.clone(),
            started,
            took,
        });
        shared.state().last = finished;
        sender.send_replace(Some(outcome));
    }
}
