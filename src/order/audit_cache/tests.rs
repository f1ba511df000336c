use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::{DateTime, Utc};
use futures_util::future::{join, join_all};
use tokio::sync::Semaphore;
use tokio::time::advance;

use super::*;
use crate::audit::Orders;

/// A cache whose audits have their number, from 1, in `orders.total`. Each waits for a permit
/// before it ends.
struct NumberedAudits {
    cache: Arc<AuditCache>,
    started: Arc<AtomicUsize>,
    permits: Arc<Semaphore>,
}

impl NumberedAudits {
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
        leaving: 0,
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
async fn callers_that_arrive_while_an_audit_runs_share_the_next_one() {
    let audits = NumberedAudits::start(0);
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
            "the first audit began before they arrived"
        );
    }
    assert_eq!(audits.started(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_audit_goes_on_when_a_caller_leaves() {
    let audits = NumberedAudits::start(0);
    let gone = audits.call();
    settle().await;
    let waits = audits.call();
    settle().await;
    gone.abort();
    settle().await;
    audits.permits.add_permits(3);
    assert_eq!(waits.await.unwrap().unwrap().orders.total, 2);
    assert_eq!(audits.number().await, 3, "the cache runs another audit");
}

#[tokio::test(start_paused = true)]
async fn an_audit_whose_callers_have_all_left_is_not_run() {
    let audits = NumberedAudits::start(0);
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
    let audits = NumberedAudits::start(0);
    let begun = Instant::now();
    let (first, second) = join(audits.cache.audit(), audits.cache.audit()).await;
    assert!(
        matches!(first, Err(AuditError::TimedOut)) && matches!(second, Err(AuditError::TimedOut))
    );
    assert_eq!(begun.elapsed().as_secs(), WAIT_TIMEOUT.as_secs());
}

#[tokio::test(start_paused = true)]
async fn only_the_result_of_a_long_audit_is_reused_and_for_a_limited_time() {
    // Milliseconds that an audit takes, and for which its result is reused after that.
    for (took, reused_for) in [
        (250, 0),
        (300, 300),
        (4000, 4000),
        (7000, 3000),
        (10_000, 0),
    ] {
        let audits = NumberedAudits::start(0);
        let call = audits.call();
        settle().await;
        advance(Duration::from_millis(took)).await;
        audits.permits.add_permits(1);
        call.await.unwrap().unwrap();
        if reused_for > 0 {
            advance(Duration::from_millis(reused_for - 1)).await;
            assert_eq!(audits.number().await, 1, "{took} ms");
            advance(Duration::from_millis(1)).await;
        }
        audits.permits.add_permits(1);
        assert_eq!(audits.number().await, 2, "{took} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_shared_by_its_callers_and_never_reused() {
    let audits = NumberedAudits::with(0, |number| match number {
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
