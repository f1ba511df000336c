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

use crate::audit::{self, Audit, AuditError, Elsewhere};
use crate::platform::db::DatabaseUrl;

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
    pub fn new(url: DatabaseUrl, elsewhere: Elsewhere, bound: Duration) -> Self {
        Self::with(Box::new(move || {
            let (url, elsewhere) = (url.clone(), elsewhere.clone());
            async move { audit::within(RUN_TIMEOUT, &url, bound, &elsewhere).await }.boxed()
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use chrono::{DateTime, Utc};
    use futures_util::future::{join, join_all};
    use tokio::sync::Semaphore;
    use tokio::time::advance;

    use super::*;
    use crate::audit::Orders;

    /// Audits that are numbered by `orders.total`, from 1, and of which none ends without a permit.
    struct Numbered {
        cache: Arc<AuditCache>,
        started: Arc<AtomicUsize>,
        permits: Arc<Semaphore>,
    }

    impl Numbered {
        fn start(permits: usize) -> Self {
            Self::with(permits, |number| Ok(number_as_audit(number)))
        }

        fn with(permits: usize, outcome: fn(usize) -> Outcome) -> Self {
            let (started, permits) = (
                Arc::<AtomicUsize>::default(),
                Arc::new(Semaphore::new(permits)),
            );
            let (counter, gate) = (Arc::clone(&started), Arc::clone(&permits));
            let run = move || {
                let number = counter.fetch_add(1, Ordering::Relaxed) + 1;
                let gate = Arc::clone(&gate);
                async move {
                    gate.acquire().await.unwrap().forget();
                    outcome(number)
                }
                .boxed()
            };
            Self {
                cache: Arc::new(AuditCache::with(Box::new(run))),
                started,
                permits,
            }
        }

        /// A caller in a task of its own.
        fn call(&self) -> tokio::task::JoinHandle<Outcome> {
            let cache = Arc::clone(&self.cache);
            tokio::spawn(async move { cache.audit().await })
        }

        async fn number(&self) -> i64 {
            self.cache.audit().await.unwrap().orders.total
        }

        fn started(&self) -> usize {
            self.started.load(Ordering::Relaxed)
        }
    }

    fn number_as_audit(number: usize) -> Audit {
        let total = i64::try_from(number).unwrap();
        let orders = Orders {
            total,
            confirmed: 0,
            failed: 0,
            unsettled: 0,
            reservations_without_order: 0,
        };
        let (at, clean) = (DateTime::<Utc>::default(), true);
        Audit {
            at,
            clean,
            invariants: vec![],
            products: vec![],
            orders,
            holds_without_order: vec![],
        }
    }

    /// Lets every task go on until it waits for something.
    async fn settle() {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn callers_who_come_while_an_audit_runs_share_the_next_one() {
        let audits = Numbered::start(0);
        let first = audits.call();
        settle().await;
        let others: Vec<_> = (0..9).map(|_| audits.call()).collect();
        settle().await;
        assert_eq!(audits.started(), 1, "one at a time");
        audits.permits.add_permits(2);
        assert_eq!(first.await.unwrap().unwrap().orders.total, 1);
        for other in join_all(others).await {
            assert_eq!(
                other.unwrap().unwrap().orders.total,
                2,
                "the first began before they came"
            );
        }
        assert_eq!(audits.started(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_goes_takes_no_audit_from_the_others() {
        let audits = Numbered::start(0);
        let gone = audits.call();
        settle().await;
        let waits = audits.call();
        settle().await;
        gone.abort();
        settle().await;
        audits.permits.add_permits(3);
        assert_eq!(waits.await.unwrap().unwrap().orders.total, 2);
        assert_eq!(audits.number().await, 3, "and the cache goes on");
    }

    #[tokio::test(start_paused = true)]
    async fn an_audit_whose_callers_have_all_gone_is_not_begun() {
        let audits = Numbered::start(0);
        let first = audits.call();
        settle().await;
        let gone = audits.call();
        settle().await;
        gone.abort();
        settle().await;
        audits.permits.add_permits(10);
        first.await.unwrap().unwrap();
        settle().await;
        assert_eq!(audits.started(), 1);
        assert_eq!(audits.number().await, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_waits_for_a_bounded_time() {
        let audits = Numbered::start(0);
        let begun = Instant::now();
        let (first, second) = join(audits.cache.audit(), audits.cache.audit()).await;
        assert!(
            matches!(first, Err(AuditError::TimedOut))
                && matches!(second, Err(AuditError::TimedOut))
        );
        assert_eq!(begun.elapsed().as_secs(), WAIT_TIMEOUT.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_long_audit_is_given_again_and_only_for_a_while() {
        // How long an audit takes, and for how long after it its result is given again.
        for (took, again) in [
            (250, 0),
            (300, 300),
            (4000, 4000),
            (7000, 3000),
            (10_000, 0),
        ] {
            let audits = Numbered::start(0);
            let call = audits.call();
            settle().await;
            advance(Duration::from_millis(took)).await;
            audits.permits.add_permits(1);
            call.await.unwrap().unwrap();
            if again > 0 {
                advance(Duration::from_millis(again - 1)).await;
                assert_eq!(audits.number().await, 1, "{took} ms");
                advance(Duration::from_millis(1)).await;
            }
            audits.permits.add_permits(1);
            assert_eq!(audits.number().await, 2, "{took} ms");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_shared_but_never_given_again() {
        let audits = Numbered::with(0, |number| match number {
            1 => Err(AuditError::TimedOut),
            2 => panic!("2"),
            _ => Ok(number_as_audit(number)),
        });
        let callers = [audits.call(), audits.call()];
        settle().await;
        advance(Duration::from_secs(1)).await;
        audits.permits.add_permits(1);
        for caller in callers {
            assert!(matches!(caller.await.unwrap(), Err(AuditError::TimedOut)));
        }
        audits.permits.add_permits(2);
        assert!(
            matches!(audits.cache.audit().await, Err(AuditError::Aborted)),
            "a panic"
        );
        assert_eq!(audits.number().await, 3);
    }
}
