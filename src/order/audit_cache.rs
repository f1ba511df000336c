//! `GET /audit`: one audit at a time, whose result all callers share.
//!
//! An audit reads every table whole, and waits where a table is locked. A caller gets the result of
//! an audit that started after the caller came; one that is running already may have read what has
//! changed since. So at most one audit runs and one waits to run, whatever the number of callers:
//! all who come meanwhile share the one that waits.
//!
//! An audit belongs to no caller. It runs as a task of its own, so a caller whose connection closes
//! takes nothing from the others. It has a database connection of its own too: one from the pool
//! would be missing where orders are served.

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

/// For one audit.
const RUN_TIMEOUT: Duration = Duration::from_secs(30);
/// For one caller: the end of the audit that is running when it arrives, and the next audit.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);
/// An audit that took less is repeated for each caller.
const MIN_REUSABLE_DURATION: Duration = Duration::from_millis(250);
/// No result is given again once its audit started longer ago than this.
const MAX_REUSABLE_AGE: Duration = Duration::from_secs(10);

type Outcome = Result<Audit, AuditError>;
type Run = Box<dyn Fn() -> BoxFuture<'static, Outcome> + Send + Sync>;
/// Where the outcome of an audit appears.
type Announcement = watch::Sender<Option<Outcome>>;

/// One for the process.
pub struct AuditCache {
    /// Lives as long as the process; callers' own runtimes end with their worker threads.
    runtime: Handle,
    shared: Arc<Shared>,
}

struct Shared {
    run: Run,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    is_running: bool,
    /// The audit that waits to run. It starts as soon as none is running.
    next: Option<Announcement>,
    last: Option<Finished>,
}

struct Finished {
    audit: Audit,
    started: Instant,
    took: Duration,
}

impl Finished {
    /// Dashboards poll. Where an audit takes long, a result is given again until its audit started
    /// twice as long ago as it took: then audits take at most half of the time, and no result
    /// is older than [`MAX_REUSABLE_AGE`].
    fn is_reusable(&self) -> bool {
        self.took > MIN_REUSABLE_DURATION
            && self.started.elapsed() < (self.took * 2).min(MAX_REUSABLE_AGE)
    }
}

impl AuditCache {
    /// To be called on the runtime that lives as long as the process.
    #[must_use]
    pub fn new(url: DatabaseUrl, remote: RemoteDatabases, bound: Duration) -> Self {
        Self::with(Box::new(move || {
            let (url, remote) = (url.clone(), remote.clone());
            async move { audit::run_within(RUN_TIMEOUT, &url, bound, &remote).await }.boxed()
        }))
    }

    fn with(run: Run) -> Self {
        Self {
            runtime: Handle::current(),
            shared: Arc::new(Shared {
                run,
                state: Mutex::default(),
            }),
        }
    }

    /// Returns the result of an audit that started after the call, or of a long one that ended
    /// shortly before it.
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
        let announced = timeout(WAIT_TIMEOUT, outcome.wait_for(Option::is_some)).await;
        match announced.map_err(|_| AuditError::TimedOut)? {
            Ok(outcome) => outcome.clone().unwrap_or(Err(AuditError::Aborted)),
            // The task ended with its runtime.
            Err(_) => Err(AuditError::Aborted),
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The audit that runs next; an audit whose callers have all gone is not begun.
    fn begin(&self) -> Option<Announcement> {
        let mut state = self.state();
        let next = state
            .next
            .take()
            .filter(|announcement| !announcement.is_closed());
        state.is_running = next.is_some();
        next
    }
}

/// Runs audits, one after the other, until no caller waits for one.
async fn run_all(shared: Arc<Shared>) {
    while let Some(announcement) = shared.begin() {
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
        announcement.send_replace(Some(outcome));
    }
}
