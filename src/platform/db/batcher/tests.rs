use std::collections::HashSet;
use std::sync::Mutex;

use diesel::result::{DatabaseErrorKind, Error};
use futures_util::future::join_all;
use proptest::prelude::*;
use tokio::sync::Semaphore;

use super::gather::YIELDS_BEFORE_FLUSH;
use super::worker::LOCK_RETRY_INTERVAL;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;

use super::handle::{Batcher, MAX_QUEUE};
use super::spec::{Answers, Execute};
use crate::platform::db::DatabaseError;
use crate::platform::deadline::Deadline;

const FOREVER: Duration = Duration::from_secs(60);
/// A batch with this item in it is refused.
const BAD: u32 = 13;

/// A table of numbers that doubles them: it refuses a batch with a bad one, panics at 500, is
/// unreachable at 404, loses an answer at 300, and takes no batch without a permit.
#[derive(Clone, Default)]
struct Table {
    permits: Arc<std::sync::OnceLock<Semaphore>>,
    batches: Arc<Mutex<Vec<Vec<u32>>>>,
    locked: Arc<Mutex<HashSet<u32>>>,
    /// Looking for locks shows none of them.
    locks_are_unseen: bool,
    /// Until when each batch had to be begun.
    begun_by: Arc<Mutex<Vec<Instant>>>,
}

impl Table {
    fn locks(&self) -> std::sync::MutexGuard<'_, HashSet<u32>> {
        self.locked.lock().unwrap()
    }

    fn carry_out(&self, items: &[u32]) -> Result<Vec<u32>, DatabaseError> {
        self.batches.lock().unwrap().push(items.to_vec());
        if items.iter().any(|item| self.locks().contains(item)) {
            return Err(DatabaseError::row_locked());
        }
        if items.contains(&BAD) {
            let refused =
                Error::DatabaseError(DatabaseErrorKind::CheckViolation, Box::new("13".to_owned()));
            return Err(refused.into());
        }
        match items {
            [404, ..] => Err(DatabaseError::Unreachable("gone".to_owned())),
            [500, ..] => panic!("500"),
            [300, ..] => Ok(Vec::new()),
            _ => Ok(items.iter().map(|item| item * 2).collect()),
        }
    }
}

impl Execute<u32, u32> for Table {
    fn execute<'a>(&'a self, items: &'a [u32], begin_by: Instant) -> Answers<'a, u32> {
        self.begun_by.lock().unwrap().push(begin_by);
        async move {
            self.permits
                .get()
                .unwrap()
                .acquire()
                .await
                .unwrap()
                .forget();
            self.carry_out(items)
        }
        .boxed()
    }

    fn find_locked<'a>(&'a self, items: &'a [u32]) -> Answers<'a, bool> {
        let is_locked = |item: &u32| !self.locks_are_unseen && self.locks().contains(item);
        std::future::ready(Ok(items.iter().map(is_locked).collect())).boxed()
    }
}

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
            // By now all are in the queue: `join_all` has polled each of them once.
            tokio::task::yield_now().await;
            self.permits().add_permits(1000);
        };
        futures_util::future::join(all, start).await.0
    }

    fn batches(&self) -> Vec<Vec<u32>> {
        self.table.batches.lock().unwrap().clone()
    }
}

/// By then what was submitted has queued, and its batch has left.
async fn begun() {
    for _ in 0..YIELDS_BEFORE_FLUSH + 2 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn ready_tasks_join_the_batch() {
    let doubler = Doubler::start(1);
    let late = async {
        for _ in 0..YIELDS_BEFORE_FLUSH / 2 {
            tokio::task::yield_now().await;
        }
        doubler.double(2).await
    };
    let (first, second) = futures_util::future::join(doubler.double(1), late).await;
    assert_eq!((first.unwrap(), second.unwrap()), (2, 4));
    assert_eq!(doubler.batches(), [vec![1, 2]]);
}

/// The clock stands still but for what waits for it: what waits for nobody takes no time at all.
#[tokio::test(start_paused = true)]
async fn waits_for_half_of_the_callers_and_at_most_1_ms() {
    let doubler = Doubler::start(100);
    let begin = Instant::now();
    let four: Vec<_> = (0..4).map(|_| doubler.batcher.enter()).collect();
    let late = async {
        for _ in 0..YIELDS_BEFORE_FLUSH * 4 {
            tokio::task::yield_now().await;
        }
        doubler.double(2).await
    };
    let (first, second) = futures_util::future::join(doubler.double(1), late).await;
    assert_eq!((first.unwrap(), second.unwrap()), (2, 4));
    assert_eq!(doubler.batches(), [vec![1, 2]], "half of four");
    assert!(
        begin.elapsed().is_zero(),
        "a full half leaves at once: {:?}",
        begin.elapsed()
    );

    let waited = Instant::now();
    assert_eq!(doubler.double(3).await.unwrap(), 6, "the others never come");
    let waited = waited.elapsed();
    assert!(
        !waited.is_zero() && waited <= Duration::from_millis(2),
        "{waited:?}"
    );

    drop(four);
    let _two = [doubler.batcher.enter(), doubler.batcher.enter()];
    let alone = Instant::now();
    assert_eq!(doubler.double(4).await.unwrap(), 8);
    assert!(alone.elapsed().is_zero(), "{:?}", alone.elapsed());
}

#[tokio::test]
async fn an_idle_batcher_flushes_at_once_and_a_busy_one_gathers() {
    let doubler = Doubler::start(1);
    assert_eq!(doubler.double(1).await.unwrap(), 2);
    let held = {
        let batcher = doubler.batcher.clone();
        tokio::spawn(async move { batcher.submit(2, Deadline::after(FOREVER)).await })
    };
    begun().await;
    let answers = doubler.double_all(&[3, 4, 5]).await;
    assert_eq!(
        answers.into_iter().map(Result::unwrap).collect::<Vec<_>>(),
        [6, 8, 10]
    );
    assert_eq!(held.await.unwrap().unwrap(), 4);
    assert_eq!(
        doubler.batches(),
        [vec![1], vec![2], vec![3, 4, 5]],
        "one at a time, in order"
    );
}

#[tokio::test]
async fn a_database_in_trouble_is_not_asked_again_for_each_item() {
    let doubler = Doubler::start(0);
    for answer in doubler.double_all(&[404, 1, 2, 3]).await {
        assert!(
            matches!(answer, Err(DatabaseError::Unreachable(_))),
            "{answer:?}"
        );
    }
    assert_eq!(doubler.batches().len(), 1);
    assert_eq!(doubler.double(1).await.unwrap(), 2, "the batcher goes on");
}

#[tokio::test]
async fn a_panic_and_a_missing_answer_are_internal_errors_and_end_nothing() {
    let doubler = Doubler::start(0);
    for broken in [500, 300] {
        for answer in doubler.double_all(&[broken, 1]).await {
            assert!(
                matches!(answer, Err(DatabaseError::Internal(_))),
                "{broken}: {answer:?}"
            );
            assert_eq!(answer.unwrap_err().of_read().status(), 500);
        }
    }
    assert_eq!(doubler.double(1).await.unwrap(), 2);
}

#[tokio::test]
async fn abandoned_work_is_never_executed_and_its_caller_knows() {
    let doubler = Doubler::start(0);
    let first = tokio::spawn({
        let batcher = doubler.batcher.clone();
        async move { batcher.submit(1, Deadline::after(FOREVER)).await }
    });
    begun().await;
    let queued = doubler
        .batcher
        .submit(2, Deadline::after(Duration::from_millis(5)))
        .await;
    assert!(matches!(queued, Err(DatabaseError::TooLate)), "{queued:?}");
    assert!(!queued.unwrap_err().is_outcome_unknown());
    let hung_up = tokio::time::timeout(Duration::from_millis(5), doubler.double(3)).await;
    assert!(hung_up.is_err());
    doubler.permits().add_permits(10);
    assert_eq!(first.await.unwrap().unwrap(), 2);
    assert_eq!(doubler.double(4).await.unwrap(), 8);
    assert_eq!(doubler.batches(), [vec![1], vec![4]]);
}

#[tokio::test]
async fn the_outcome_of_work_that_was_begun_is_unknown() {
    let doubler = Doubler::start(0);
    let begun = doubler
        .batcher
        .submit(1, Deadline::after(Duration::from_millis(20)))
        .await;
    assert!(matches!(begun, Err(DatabaseError::TimedOut)), "{begun:?}");
    assert!(begun.unwrap_err().is_outcome_unknown());
}

#[tokio::test]
async fn work_is_not_begun_with_less_time_left_than_it_may_take() {
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
async fn a_caller_that_is_almost_out_of_time_does_not_hurry_the_others() {
    let doubler = Doubler::start(100);
    let now = Instant::now();
    let (short, long) = (Duration::from_millis(200), Duration::from_secs(2));
    let together = [(1, short), (2, long)]
        .map(|(item, time)| doubler.batcher.submit(item, Deadline::after(time)));
    assert!(join_all(together).await.iter().all(Result::is_ok));
    assert_eq!(doubler.batches(), [vec![1, 2]]);
    assert!(doubler.table.begun_by.lock().unwrap()[0] > now + Duration::from_secs(1));
}

#[tokio::test]
async fn a_full_queue_rejects_more_and_loses_nothing() {
    let doubler = Doubler::start(0);
    let items: Vec<_> = (1000..1000 + u32::try_from(MAX_QUEUE).unwrap() + 5).collect();
    let answers = doubler.double_all(&items).await;
    let busy = answers
        .iter()
        .filter(|answer| matches!(answer, Err(DatabaseError::Busy)))
        .count();
    assert_eq!(busy, 5);
    for (item, answer) in items
        .iter()
        .zip(answers)
        .filter(|(_, answer)| answer.is_ok())
    {
        assert_eq!(answer.unwrap(), item * 2);
    }
}

/// Until an item waits for a lock.
async fn parked(doubler: &Doubler) {
    while doubler.batches().is_empty() {
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(LOCK_RETRY_INTERVAL * 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_locked_item_waits_by_itself_and_its_neighbours_do_not_notice() {
    for locks_are_unseen in [false, true] {
        let table = Table {
            locks_are_unseen,
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
        let answers = doubler.double_all(&[1, 2, 3]).await;
        assert_eq!(
            answers.into_iter().map(Result::unwrap).collect::<Vec<_>>(),
            [2, 4, 6]
        );
        parked(&doubler).await;
        for item in 20..30 {
            assert_eq!(doubler.double(item).await.unwrap(), item * 2);
        }
        assert!(!locked.is_finished(), "it waits");
        doubler.table.locks().clear();
        assert_eq!(
            locked.await.unwrap().unwrap(),
            14,
            "and is carried out once it is free"
        );
        // The first batch shows the lock; an unseen one is met by each later try, but never
        // together with another item.
        let with_neighbours = doubler
            .batches()
            .into_iter()
            .filter(|batch| batch.len() > 1 && batch.contains(&7));
        assert_eq!(
            with_neighbours.count(),
            if locks_are_unseen { 2 } else { 1 }
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_item_waits_for_a_lock_for_part_of_its_time_and_was_then_not_carried_out() {
    let doubler = Doubler::start(1000);
    doubler.table.locks().insert(7);
    let begin = Instant::now();
    let locked = doubler
        .batcher
        .submit(7, Deadline::after(Duration::from_secs(2)))
        .await;
    let error = locked.unwrap_err();
    assert!(error.is_locked() && !error.is_outcome_unknown(), "{error}");
    assert!(
        begin.elapsed() < Duration::from_secs(1),
        "{:?}",
        begin.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn many_unseen_locks_cost_a_batch_few_tries() {
    let table = Table {
        locks_are_unseen: true,
        ..Table::default()
    };
    table.locks().extend(100..150);
    let doubler = Doubler::start_with(table, 0, Duration::ZERO);
    let items: Vec<_> = (100..150).collect();
    let answers = doubler.double_all(&items);
    let tries = async {
        tokio::time::sleep(LOCK_RETRY_INTERVAL / 2).await;
        doubler.batches().len()
    };
    let (answers, tries) = futures_util::future::join(answers, tries).await;
    assert!(
        answers
            .iter()
            .all(|answer| answer.as_ref().is_err_and(DatabaseError::is_locked))
    );
    assert!(tries < 10, "{tries}");
}

proptest! {
    #[test]
    fn each_caller_gets_its_own_answer_whatever_its_neighbours_are(
        items in prop::collection::vec(BAD - 3..BAD + 3, 1..40),
        locked in prop::collection::hash_set(BAD - 3..BAD, 0..3),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let doubler = Doubler::start(0);
            doubler.table.locks().extend(&locked);
            let answers = doubler.double_all(&items).await;
            for (item, answer) in items.iter().zip(answers) {
                match answer {
                    Ok(doubled) => assert_eq!((doubled, *item == BAD, locked.contains(item)), (item * 2, false, false)),
                    Err(error) if error.is_locked() => assert!(locked.contains(item), "{item}: {error}"),
                    Err(error) => assert!(*item == BAD && error.is_refusal(), "{item}: {error}"),
                }
            }
        });
    }
}
