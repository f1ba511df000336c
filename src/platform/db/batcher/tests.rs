//! Tests of the batcher, with a table in memory instead of a database.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use diesel::result::{DatabaseErrorKind, Error};
use futures_util::FutureExt;
use futures_util::future::{join, join_all};
use proptest::prelude::*;
use tokio::sync::Semaphore;
use tokio::task::yield_now;
use tokio::time::Instant;

use super::gather::MAX_YIELDS;
use super::handle::{Batcher, MAX_QUEUED_ITEMS};
use super::spec::{BatchFuture, Execute};
use super::worker::LOCK_RETRY_INTERVAL;
use crate::platform::db::DatabaseError;
use crate::platform::deadline::Deadline;

const FOREVER: Duration = Duration::from_secs(60);
/// The table rejects a batch that contains this item.
const BAD: u32 = 13;
/// The table is unreachable for a batch that starts with this item.
const UNREACHABLE: u32 = 9001;
/// The table panics at a batch that starts with this item.
const PANIC: u32 = 9002;
/// The table returns no results for a batch that starts with this item.
const NO_RESULTS: u32 = 9003;

/// A table that doubles the items of a batch, except those that contain [`BAD`] or start with
/// [`UNREACHABLE`], [`PANIC`] or [`NO_RESULTS`].
#[derive(Clone, Default)]
struct Table {
    /// Each batch takes one permit, and waits until there is one.
    permits: Arc<OnceLock<Semaphore>>,
    batches: Arc<Mutex<Vec<Vec<u32>>>>,
    /// The items of the batches that succeeded.
    stored: Arc<Mutex<Vec<u32>>>,
    locked: Arc<Mutex<HashSet<u32>>>,
    /// `find_locked` reports no lock.
    locks_are_undetected: bool,
    /// Until when each batch had to be started.
    start_by: Arc<Mutex<Vec<Instant>>>,
}

impl Table {
    fn locks(&self) -> MutexGuard<'_, HashSet<u32>> {
        self.locked.lock().unwrap()
    }

    fn double(&self, items: &[u32]) -> Result<Vec<u32>, DatabaseError> {
        self.batches.lock().unwrap().push(items.to_vec());
        if items.iter().any(|item| self.locks().contains(item)) {
            return Err(DatabaseError::row_locked());
        }
        if items.contains(&BAD) {
            let rejection =
                Error::DatabaseError(DatabaseErrorKind::CheckViolation, Box::new(BAD.to_string()));
            return Err(rejection.into());
        }
        match items {
            [UNREACHABLE, ..] => Err(DatabaseError::Unreachable("gone".to_owned())),
            [PANIC, ..] => panic!("the table panics"),
            [NO_RESULTS, ..] => Ok(Vec::new()),
            _ => {
                self.stored.lock().unwrap().extend(items);
                Ok(items.iter().map(|item| item * 2).collect())
            }
        }
    }
}

impl Execute<u32, u32> for Table {
    fn execute<'a>(&'a self, items: &'a [u32], start_by: Instant) -> BatchFuture<'a, u32> {
        self.start_by.lock().unwrap().push(start_by);
        async move {
            self.permits
                .get()
                .unwrap()
                .acquire()
                .await
                .unwrap()
                .forget();
            self.double(items)
        }
        .boxed()
    }

    fn find_locked<'a>(&'a self, items: &'a [u32]) -> BatchFuture<'a, bool> {
        let is_locked = |item: &u32| !self.locks_are_undetected && self.locks().contains(item);
        std::future::ready(Ok(items.iter().map(is_locked).collect())).boxed()
    }
}

/// A batcher on a table, which records its batches.
struct Doubler {
    batcher: Batcher<u32, u32>,
    table: Table,
}

impl Doubler {
    fn start(permits: usize) -> Self {
        Self::start_with(Table::default(), permits, Duration::ZERO)
    }

    fn start_with(table: Table, permits: usize, min_time: Duration) -> Self {
        table.permits.set(Semaphore::new(permits)).unwrap();
        Self {
            batcher: Batcher::start_with("SELECT", min_time, None, table.clone()),
            table,
        }
    }

    fn permits(&self) -> &Semaphore {
        self.table.permits.get().unwrap()
    }

    async fn double(&self, item: u32) -> Result<u32, DatabaseError> {
        self.batcher.submit(item, Deadline::after(FOREVER)).await
    }

    async fn double_all(&self, items: &[u32]) -> Vec<Result<u32, DatabaseError>> {
        let all = join_all(items.iter().map(|item| self.double(*item)));
        let start = async {
            // `join_all` has polled each of them once, so all items are queued by now.
            yield_now().await;
            self.permits().add_permits(1000);
        };
        join(all, start).await.0
    }

    fn batches(&self) -> Vec<Vec<u32>> {
        self.table.batches.lock().unwrap().clone()
    }
}

/// Waits until the submitted items are queued and their batch is flushed.
async fn flushed() {
    for _ in 0..MAX_YIELDS + 2 {
        yield_now().await;
    }
}

/// Submits each item `yields` yields later than the one before.
async fn double_in_turn(doubler: &Doubler, items: &[u32], yields: usize) {
    let each = items.iter().enumerate().map(async |(index, item)| {
        for _ in 0..index * yields {
            yield_now().await;
        }
        doubler.double(*item).await.unwrap()
    });
    join_all(each).await;
}

#[tokio::test]
async fn tasks_join_a_batch_as_long_as_one_of_them_is_ready() {
    let doubler = Doubler::start(1);
    double_in_turn(&doubler, &[1, 2, 3, 4], 1).await;
    assert_eq!(doubler.batches(), [vec![1, 2, 3, 4]]);
}

#[tokio::test]
async fn a_batch_that_no_task_joins_is_flushed_after_one_yield() {
    let doubler = Doubler::start(100);
    double_in_turn(&doubler, &[1, 2], 3).await;
    assert_eq!(doubler.batches(), [vec![1], vec![2]]);
}

/// The clock is paused, and advances only when all tasks wait for it: a flush without a wait takes
/// no time.
#[tokio::test(start_paused = true)]
async fn a_flush_waits_for_half_of_the_callers_and_at_most_1_ms() {
    let doubler = Doubler::start(100);
    let start = Instant::now();
    let four: Vec<_> = (0..4).map(|_| doubler.batcher.enter()).collect();
    let late = async {
        for _ in 0..MAX_YIELDS * 4 {
            yield_now().await;
        }
        doubler.double(2).await
    };
    let (first, second) = join(doubler.double(1), late).await;
    assert_eq!((first.unwrap(), second.unwrap()), (2, 4));
    assert_eq!(doubler.batches(), [vec![1, 2]], "two of four callers");
    assert!(
        start.elapsed().is_zero(),
        "two of four callers are enough: {:?}",
        start.elapsed()
    );

    let start = Instant::now();
    assert_eq!(
        doubler.double(3).await.unwrap(),
        6,
        "the other callers submit nothing"
    );
    let waited = start.elapsed();
    assert!(
        !waited.is_zero() && waited <= Duration::from_millis(2),
        "{waited:?}"
    );

    drop(four);
    let _two = [doubler.batcher.enter(), doubler.batcher.enter()];
    let start = Instant::now();
    assert_eq!(doubler.double(4).await.unwrap(), 8);
    assert!(start.elapsed().is_zero(), "{:?}", start.elapsed());
}

#[tokio::test]
async fn an_idle_batcher_flushes_at_once_and_a_busy_one_gathers() {
    let doubler = Doubler::start(1);
    assert_eq!(doubler.double(1).await.unwrap(), 2);
    let second = {
        let batcher = doubler.batcher.clone();
        tokio::spawn(async move { batcher.submit(2, Deadline::after(FOREVER)).await })
    };
    flushed().await;
    let results = doubler.double_all(&[3, 4, 5]).await;
    assert_eq!(
        results.into_iter().map(Result::unwrap).collect::<Vec<_>>(),
        [6, 8, 10]
    );
    assert_eq!(second.await.unwrap().unwrap(), 4);
    assert_eq!(
        doubler.batches(),
        [vec![1], vec![2], vec![3, 4, 5]],
        "one batch at a time, in order"
    );
}

#[tokio::test]
async fn an_unreachable_database_is_not_tried_again_for_each_item() {
    let doubler = Doubler::start(0);
    for result in doubler.double_all(&[UNREACHABLE, 1, 2, 3]).await {
        assert!(
            matches!(result, Err(DatabaseError::Unreachable(_))),
            "{result:?}"
        );
    }
    assert_eq!(doubler.batches().len(), 1);
    assert_eq!(
        doubler.double(1).await.unwrap(),
        2,
        "the batcher still works"
    );
}

#[tokio::test]
async fn a_panic_or_a_missing_result_is_an_internal_error_and_does_not_end_the_batcher() {
    let doubler = Doubler::start(0);
    for broken in [PANIC, NO_RESULTS] {
        for result in doubler.double_all(&[broken, 1]).await {
            assert!(
                matches!(result, Err(DatabaseError::Internal(_))),
                "{broken}: {result:?}"
            );
            assert_eq!(result.unwrap_err().into_read_problem().status(), 500);
        }
    }
    assert_eq!(doubler.double(1).await.unwrap(), 2);
}

#[tokio::test]
async fn an_abandoned_item_is_never_executed_and_its_outcome_is_known() {
    let doubler = Doubler::start(0);
    let first = tokio::spawn({
        let batcher = doubler.batcher.clone();
        async move { batcher.submit(1, Deadline::after(FOREVER)).await }
    });
    flushed().await;
    let queued = doubler
        .batcher
        .submit(2, Deadline::after(Duration::from_millis(5)))
        .await;
    assert!(matches!(queued, Err(DatabaseError::TooLate)), "{queued:?}");
    assert!(!queued.unwrap_err().is_outcome_unknown());
    let disconnected = tokio::time::timeout(Duration::from_millis(5), doubler.double(3)).await;
    assert!(disconnected.is_err());
    doubler.permits().add_permits(10);
    assert_eq!(first.await.unwrap().unwrap(), 2);
    assert_eq!(doubler.double(4).await.unwrap(), 8);
    assert_eq!(doubler.batches(), [vec![1], vec![4]]);
}

#[tokio::test]
async fn the_outcome_of_a_started_item_is_unknown_after_the_deadline() {
    let doubler = Doubler::start(0);
    let started = doubler
        .batcher
        .submit(1, Deadline::after(Duration::from_millis(20)))
        .await;
    assert!(
        matches!(started, Err(DatabaseError::TimedOut)),
        "{started:?}"
    );
    assert!(started.unwrap_err().is_outcome_unknown());
}

#[tokio::test]
async fn an_item_with_less_than_its_minimum_time_left_is_not_started() {
    let doubler = Doubler::start_with(Table::default(), 100, Duration::from_secs(2));
    let late = doubler
        .batcher
        .submit(1, Deadline::after(Duration::from_millis(1900)))
        .await;
    assert!(matches!(late, Err(DatabaseError::TooLate)), "{late:?}");
    assert_eq!(doubler.double(2).await.unwrap(), 4);
    assert_eq!(doubler.batches(), [vec![2]]);
}

#[tokio::test]
async fn a_caller_with_little_time_left_does_not_shorten_the_time_of_the_others() {
    let doubler = Doubler::start(100);
    let now = Instant::now();
    let (short, long) = (Duration::from_millis(200), Duration::from_secs(2));
    let submissions = [(1, short), (2, long)]
        .map(|(item, time)| doubler.batcher.submit(item, Deadline::after(time)));
    assert!(join_all(submissions).await.iter().all(Result::is_ok));
    assert_eq!(doubler.batches(), [vec![1, 2]]);
    assert!(doubler.table.start_by.lock().unwrap()[0] > now + Duration::from_secs(1));
}

#[tokio::test]
async fn a_full_queue_rejects_further_items_and_loses_none() {
    let doubler = Doubler::start(0);
    let items: Vec<_> = (1000..1000 + u32::try_from(MAX_QUEUED_ITEMS).unwrap() + 5).collect();
    let results = doubler.double_all(&items).await;
    let rejected = results
        .iter()
        .filter(|result| matches!(result, Err(DatabaseError::QueueFull(_))))
        .count();
    assert_eq!(rejected, 5);
    for (item, result) in items
        .iter()
        .zip(results)
        .filter(|(_, result)| result.is_ok())
    {
        assert_eq!(result.unwrap(), item * 2);
    }
}

/// Waits until an item is parked.
async fn parked(doubler: &Doubler) {
    while doubler.batches().is_empty() {
        yield_now().await;
    }
    tokio::time::sleep(LOCK_RETRY_INTERVAL * 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_locked_item_does_not_delay_the_other_items() {
    for locks_are_undetected in [false, true] {
        let table = Table {
            locks_are_undetected,
            ..Table::default()
        };
        table.locks().insert(7);
        let doubler = Doubler::start_with(table, 0, Duration::ZERO);
        let locked = tokio::spawn({
            let batcher = doubler.batcher.clone();
            async move {
                batcher
                    .submit(7, Deadline::after(Duration::from_secs(10)))
                    .await
            }
        });
        let results = doubler.double_all(&[1, 2, 3]).await;
        assert_eq!(
            results.into_iter().map(Result::unwrap).collect::<Vec<_>>(),
            [2, 4, 6]
        );
        parked(&doubler).await;
        for item in 20..30 {
            assert_eq!(doubler.double(item).await.unwrap(), item * 2);
        }
        assert!(!locked.is_finished(), "the locked item waits");
        doubler.table.locks().clear();
        assert_eq!(
            locked.await.unwrap().unwrap(),
            14,
            "it is executed once the lock is released"
        );
        // The first batch contains all items. If the lock is not reported, so does the second
        // attempt. Later attempts contain no other item.
        let batches_with_others = doubler
            .batches()
            .into_iter()
            .filter(|batch| batch.len() > 1 && batch.contains(&7));
        assert_eq!(
            batches_with_others.count(),
            if locks_are_undetected { 2 } else { 1 }
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_locked_item_fails_before_its_deadline_and_is_not_executed() {
    let doubler = Doubler::start(1000);
    doubler.table.locks().insert(7);
    let start = Instant::now();
    let locked = doubler
        .batcher
        .submit(7, Deadline::after(Duration::from_secs(2)))
        .await;
    let error = locked.unwrap_err();
    assert!(error.is_locked() && !error.is_outcome_unknown(), "{error}");
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn many_undetected_locks_cause_few_attempts() {
    let table = Table {
        locks_are_undetected: true,
        ..Table::default()
    };
    table.locks().extend(100..150);
    let doubler = Doubler::start_with(table, 0, Duration::ZERO);
    let items: Vec<_> = (100..150).collect();
    let results = doubler.double_all(&items);
    let attempts = async {
        tokio::time::sleep(LOCK_RETRY_INTERVAL / 2).await;
        doubler.batches().len()
    };
    let (results, attempts) = join(results, attempts).await;
    assert!(
        results
            .iter()
            .all(|result| result.as_ref().is_err_and(DatabaseError::is_locked))
    );
    assert!(attempts < 10, "{attempts}");
}

proptest! {
    #[test]
    fn each_caller_gets_the_result_of_its_own_item_and_a_failed_item_is_not_stored(
        items in prop::collection::vec(BAD - 3..BAD + 3, 1..40),
        locked in prop::collection::hash_set(BAD - 3..BAD, 0..3),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let doubler = Doubler::start(0);
            doubler.table.locks().extend(&locked);
            let results = doubler.double_all(&items).await;
            let mut succeeded = Vec::new();
            for (item, result) in items.iter().zip(results) {
                match result {
                    Ok(doubled) => {
                        succeeded.push(*item);
                        assert_eq!(doubled, item * 2);
                        assert!(*item != BAD && !locked.contains(item), "{item}");
                    }
                    Err(error) if error.is_locked() => {
                        assert!(locked.contains(item), "{item}: {error}");
                    }
                    Err(error) => assert!(*item == BAD && error.is_rejection(), "{item}: {error}"),
                }
            }
            let mut stored = doubler.table.stored.lock().unwrap().clone();
            stored.sort_unstable();
            succeeded.sort_unstable();
            assert_eq!(stored, succeeded, "an item that failed, or was stored twice");
        });
    }
}
