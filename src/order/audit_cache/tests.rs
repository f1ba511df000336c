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
        matches!(first, Err(AuditError::TimedOut)) && matches!(second, Err(AuditError::TimedOut))
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
