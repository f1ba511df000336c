//! Micro-batching: what arrives while one transaction is under way goes together into the next.
//!
//! A durable commit costs a flush whatever it holds, and a row's lock is kept until that flush is done: on a hot row
//! only as many transactions end in a second as there are flushes. So each kind of work has a [`Lane`]. When it is idle,
//! work goes at once; when it is busy, whatever has gathered goes as one transaction when the one before is done. Whom a
//! batch waits for beyond that, [`cohort`] says; who is alone never waits.

mod cohort;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use diesel_async::AsyncPgConnection;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use prometheus::Histogram;
use tokio::sync::{mpsc, oneshot};

pub use self::cohort::Regular;
use self::cohort::Regulars;
use super::database::{Database, DatabaseError, WORK_TIMEOUT};
use super::deadline::Deadline;
use super::server::Platform;
use super::statements;

/// Items of one transaction, at most.
const MOST: usize = 128;
/// Items that may wait; more are turned away.
const QUEUE: usize = 2048;

/// Does what is asked for by all items in one transaction, and gives an answer to each, in their order. An error says
/// that nothing was done, or that what was done is unknown.
pub type Work<I, A> = for<'a> fn(&'a mut AsyncPgConnection, &'a [I]) -> Answers<'a, A>;

pub type Answers<'a, A> = BoxFuture<'a, Result<Vec<A>, DatabaseError>>;

/// What a lane is called, and what its traces show.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// Of the metrics.
    pub name: &'static str,
    /// The statement that each item takes part in.
    pub statement: &'static str,
}

struct Waiter<I, A> {
    item: I,
    deadline: Deadline,
    answer: oneshot::Sender<Result<A, DatabaseError>>,
}

impl<I, A> Waiter<I, A> {
    /// Nobody waits for the answer any more: what was not begun need not be done.
    fn is_gone(&self) -> bool {
        self.answer.is_closed() || self.deadline.remaining() == Duration::ZERO
    }
}

/// Where one kind of work of a thread queues. Clones share it.
pub struct Lane<I, A> {
    statement: &'static str,
    queue: mpsc::Sender<Waiter<I, A>>,
    regulars: Regulars,
}

impl<I, A> Clone for Lane<I, A> {
    fn clone(&self) -> Self {
        Self { statement: self.statement, queue: self.queue.clone(), regulars: self.regulars.clone() }
    }
}

impl<I: Send + Sync + 'static, A: Send + 'static> Lane<I, A> {
    /// For the thread it is called on, as the pool is.
    #[must_use]
    pub fn start(platform: &Platform, kind: Kind, work: Work<I, A>) -> Self {
        let database = platform.database.clone();
        let sizes = platform.metrics.batch_items.with_label_values(&[kind.name]);
        let run = move |items: Arc<Vec<I>>, only| transact(database.clone(), work, items, only).boxed();
        Self::start_with(kind.statement, Some(sizes), run)
    }

    fn start_with(statement: &'static str, sizes: Option<Histogram>, run: impl Run<I, A>) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let regulars = Regulars::default();
        tokio::spawn(work_off(waiting, regulars.clone(), sizes, run));
        Self { statement, queue, regulars }
    }

    /// Says that something is under way that submits to this lane once and then has other steps, until what is returned is
    /// dropped: a batch then waits a little for half of these.
    #[must_use]
    pub fn regular(&self) -> Regular {
        self.regulars.join()
    }

    /// Queues an item, and waits for its answer until its deadline.
    ///
    /// # Errors
    /// Those of the work; [`DatabaseError::Busy`] where too much waits already, which does nothing.
    pub async fn submit(&self, item: I, deadline: Deadline) -> Result<A, DatabaseError> {
        let _span = statements::span(self.statement);
        let (answer, answered) = oneshot::channel();
        let waiter = Waiter { item, deadline, answer };
        self.queue.try_send(waiter).map_err(|_| DatabaseError::Busy)?;
        let limit = deadline.remaining().min(WORK_TIMEOUT);
        let answer = tokio::time::timeout(limit, answered).await.map_err(|_| DatabaseError::TimedOut)?;
        answer.unwrap_or_else(|_| Err(broken()))
    }
}

fn broken() -> DatabaseError {
    DatabaseError::Unreachable("the batch broke off".to_owned())
}

/// Carries out all items, or the only one that is meant.
trait Run<I, A>:
    Fn(Arc<Vec<I>>, Option<usize>) -> BoxFuture<'static, Result<Vec<A>, DatabaseError>> + Send + Sync + 'static
{
}

impl<I, A, F> Run<I, A> for F where
    F: Fn(Arc<Vec<I>>, Option<usize>) -> BoxFuture<'static, Result<Vec<A>, DatabaseError>>
        + Send
        + Sync
        + 'static
{
}

async fn transact<I, A>(
    database: Database,
    work: Work<I, A>,
    items: Arc<Vec<I>>,
    only: Option<usize>,
) -> Result<Vec<A>, DatabaseError> {
    let items = only.map_or(&items[..], |index| &items[index..=index]);
    database.run(async |connection| work(connection, items).await).await
}

async fn work_off<I: Send + Sync + 'static, A: Send + 'static>(
    mut queue: mpsc::Receiver<Waiter<I, A>>,
    regulars: Regulars,
    sizes: Option<Histogram>,
    run: impl Run<I, A>,
) {
    let mut gathered = Vec::new();
    while queue.recv_many(&mut gathered, MOST).await > 0 {
        cohort::gather(&mut queue, &mut gathered, MOST, &regulars).await;
        let present = gathered.drain(..).filter(|waiter| !waiter.is_gone());
        let (items, answers): (Vec<_>, Vec<_>) =
            present.map(|waiter| (waiter.item, (waiter.deadline, waiter.answer))).unzip();
        if items.is_empty() {
            continue;
        }
        if let Some(sizes) = &sizes {
            #[expect(clippy::cast_precision_loss, reason = "at most MOST")]
            sizes.observe(items.len() as f64);
        }
        answer_all(Arc::new(items), answers, &run).await;
    }
}

type Waiting<A> = (Deadline, oneshot::Sender<Result<A, DatabaseError>>);

async fn answer_all<I: Send + Sync + 'static, A: Send + 'static>(
    items: Arc<Vec<I>>,
    waiting: Vec<Waiting<A>>,
    run: &impl Run<I, A>,
) {
    let alone = items.len() == 1;
    let mut trouble = match guarded(run(Arc::clone(&items), None)).await {
        Ok(answers) if answers.len() == waiting.len() => {
            for ((_, waiter), answer) in waiting.into_iter().zip(answers) {
                // Who gave up meanwhile goes by "outcome unknown".
                let _ = waiter.send(Ok(answer));
            }
            return;
        }
        Ok(_) => broken(),
        Err(error) => error,
    };
    for (index, (deadline, waiter)) in waiting.into_iter().enumerate() {
        // One bad item must not fail its neighbours. A database in trouble is not asked again for each of them.
        let answer = if alone || !trouble.is_refusal() {
            Err(trouble.clone())
        } else if waiter.is_closed() || deadline.remaining() == Duration::ZERO {
            Err(DatabaseError::TimedOut)
        } else {
            let answer = guarded(run(Arc::clone(&items), Some(index))).await;
            answer.and_then(|mut answers| answers.pop().ok_or_else(broken))
        };
        if let Err(error) = &answer {
            trouble = if error.is_refusal() { trouble } else { error.clone() };
        }
        let _ = waiter.send(answer);
    }
}

/// A panic in one batch must not end the lane for all that come after it.
async fn guarded<A>(
    batch: BoxFuture<'static, Result<Vec<A>, DatabaseError>>,
) -> Result<Vec<A>, DatabaseError> {
    AssertUnwindSafe(batch).catch_unwind().await.unwrap_or_else(|_| Err(broken()))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use diesel::result::{DatabaseErrorKind, Error};
    use futures_util::future::join_all;
    use proptest::prelude::*;
    use tokio::sync::Semaphore;

    use super::cohort::TURNS;
    use super::*;

    const FOREVER: Duration = Duration::from_secs(60);
    const BAD: u32 = 13;

    /// Doubles numbers. Refuses a batch with a bad one in it, panics at another, and takes no batch without a permit.
    struct Doubler {
        lane: Lane<u32, u32>,
        permits: Arc<Semaphore>,
        batches: Arc<Mutex<Vec<Vec<u32>>>>,
    }

    impl Doubler {
        fn start(permits: usize) -> Self {
            let (permits, batches) =
                (Arc::new(Semaphore::new(permits)), Arc::<Mutex<Vec<Vec<u32>>>>::default());
            let (given, seen) = (Arc::clone(&permits), Arc::clone(&batches));
            let run = move |items: Arc<Vec<u32>>, only: Option<usize>| {
                let items = only.map_or_else(|| items.to_vec(), |index| vec![items[index]]);
                let (given, seen) = (Arc::clone(&given), Arc::clone(&seen));
                async move {
                    given.acquire().await.unwrap().forget();
                    seen.lock().unwrap().push(items.clone());
                    if items.contains(&BAD) {
                        let refused = Error::DatabaseError(
                            DatabaseErrorKind::CheckViolation,
                            Box::new("13".to_owned()),
                        );
                        return Err(refused.into());
                    }
                    match items.as_slice() {
                        [404, ..] => Err(DatabaseError::Unreachable("gone".to_owned())),
                        [500, ..] => panic!("500"),
                        _ => Ok(items.iter().map(|item| item * 2).collect()),
                    }
                }
                .boxed()
            };
            Self { lane: Lane::start_with("SELECT", None, run), permits, batches }
        }

        async fn double(&self, item: u32) -> Result<u32, DatabaseError> {
            self.lane.submit(item, Deadline::after(FOREVER)).await
        }

        async fn double_all(&self, items: &[u32]) -> Vec<Result<u32, DatabaseError>> {
            let all = join_all(items.iter().map(|item| self.double(*item)));
            let start = async {
                // By now all are in the queue: `join_all` has asked each of them once.
                tokio::task::yield_now().await;
                self.permits.add_permits(1000);
            };
            futures_util::future::join(all, start).await.0
        }

        fn batches(&self) -> Vec<Vec<u32>> {
            self.batches.lock().unwrap().clone()
        }
    }

    /// By then what was submitted has queued and had all its turns.
    async fn begun() {
        for _ in 0..TURNS + 2 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_comes_from_tasks_that_are_ready_goes_along() {
        let doubler = Doubler::start(1);
        let late = async {
            for _ in 0..TURNS / 2 {
                tokio::task::yield_now().await;
            }
            doubler.double(2).await
        };
        let (first, second) = futures_util::future::join(doubler.double(1), late).await;
        assert_eq!((first.unwrap(), second.unwrap()), (2, 4));
        assert_eq!(doubler.batches(), [vec![1, 2]]);
    }

    /// The clock stands still but for what waits for it: who is never waited for costs no time at all.
    #[tokio::test(start_paused = true)]
    async fn half_of_the_regulars_go_together_and_the_last_waits_for_nobody_long() {
        let doubler = Doubler::start(100);
        let begin = tokio::time::Instant::now();
        let four: Vec<_> = (0..4).map(|_| doubler.lane.regular()).collect();
        let late = async {
            for _ in 0..TURNS * 4 {
                tokio::task::yield_now().await;
            }
            doubler.double(2).await
        };
        let (first, second) = futures_util::future::join(doubler.double(1), late).await;
        assert_eq!((first.unwrap(), second.unwrap()), (2, 4));
        assert_eq!(doubler.batches(), [vec![1, 2]], "half of four");
        assert!(begin.elapsed().is_zero(), "who is there goes at once: {:?}", begin.elapsed());

        let waited = tokio::time::Instant::now();
        assert_eq!(doubler.double(3).await.unwrap(), 6, "the others never come");
        let waited = waited.elapsed();
        assert!(!waited.is_zero() && waited <= Duration::from_millis(2), "{waited:?}");

        drop(four);
        let _two = [doubler.lane.regular(), doubler.lane.regular()];
        let alone = tokio::time::Instant::now();
        assert_eq!(doubler.double(4).await.unwrap(), 8);
        assert!(alone.elapsed().is_zero(), "{:?}", alone.elapsed());
    }

    #[tokio::test]
    async fn an_idle_lane_goes_at_once_and_a_busy_one_gathers() {
        let doubler = Doubler::start(1);
        assert_eq!(doubler.double(1).await.unwrap(), 2);
        let held = {
            let lane = doubler.lane.clone();
            tokio::spawn(async move { lane.submit(2, Deadline::after(FOREVER)).await })
        };
        begun().await;
        let answers = doubler.double_all(&[3, 4, 5]).await;
        assert_eq!(answers.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [6, 8, 10]);
        assert_eq!(held.await.unwrap().unwrap(), 4);
        assert_eq!(doubler.batches(), [vec![1], vec![2], vec![3, 4, 5]], "one at a time, in order");
    }

    #[tokio::test]
    async fn trouble_of_the_database_is_not_repeated_for_each() {
        let doubler = Doubler::start(0);
        for answer in doubler.double_all(&[404, 1, 2, 3]).await {
            assert!(matches!(answer, Err(DatabaseError::Unreachable(_))), "{answer:?}");
        }
        assert_eq!(doubler.batches().len(), 1);
        assert_eq!(doubler.double(1).await.unwrap(), 2, "the lane goes on");
    }

    #[tokio::test]
    async fn a_panic_does_not_end_the_lane() {
        let doubler = Doubler::start(2);
        assert!(doubler.double(500).await.is_err());
        assert_eq!(doubler.double(1).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn who_is_gone_costs_nothing() {
        let doubler = Doubler::start(0);
        let lane = &doubler.lane;
        let first = tokio::spawn({
            let lane = lane.clone();
            async move { lane.submit(1, Deadline::after(FOREVER)).await }
        });
        begun().await;
        let too_late = lane.submit(2, Deadline::after(Duration::from_millis(5))).await;
        assert!(matches!(too_late, Err(DatabaseError::TimedOut)));
        let hung_up = tokio::time::timeout(Duration::from_millis(5), doubler.double(3)).await;
        assert!(hung_up.is_err());
        doubler.permits.add_permits(10);
        assert_eq!(first.await.unwrap().unwrap(), 2);
        assert_eq!(doubler.double(4).await.unwrap(), 8);
        assert_eq!(doubler.batches(), [vec![1], vec![4]]);
    }

    #[tokio::test]
    async fn a_full_queue_turns_away_and_loses_nothing() {
        let doubler = Doubler::start(0);
        let items: Vec<_> = (1000..1000 + u32::try_from(QUEUE).unwrap() + 5).collect();
        let answers = doubler.double_all(&items).await;
        let busy = answers.iter().filter(|answer| matches!(answer, Err(DatabaseError::Busy))).count();
        assert_eq!(busy, 5);
        for (item, answer) in items.iter().zip(answers).filter(|(_, answer)| answer.is_ok()) {
            assert_eq!(answer.unwrap(), item * 2);
        }
    }

    proptest! {
        #[test]
        fn each_gets_its_own_answer_whoever_its_neighbours_are(items in prop::collection::vec(BAD - 3..BAD + 3, 1..40)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let answers = Doubler::start(0).double_all(&items).await;
                for (item, answer) in items.iter().zip(answers) {
                    match answer {
                        Ok(doubled) => assert_eq!((doubled, *item == BAD), (item * 2, false)),
                        Err(error) => assert!(*item == BAD && error.is_refusal(), "{item}: {error}"),
                    }
                }
            });
        }
    }
}
