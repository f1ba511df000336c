//! Micro-batching: what arrives while one transaction is under way goes together into the next.
//!
//! A durable commit costs a flush whatever it holds, and a row's lock is kept until that flush is done: on a hot row
//! only as many transactions end in a second as there are flushes. So each kind of work has a [`Lane`]. When it is idle,
//! work goes at once; when it is busy, whatever has gathered goes as one transaction when the one before is done. Nobody
//! waits for a batch to fill.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use diesel_async::AsyncPgConnection;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use prometheus::Histogram;
use tokio::sync::{mpsc, oneshot};

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

/// Where one kind of work queues. Clones share it.
pub struct Lane<I, A> {
    statement: &'static str,
    queue: mpsc::Sender<Waiter<I, A>>,
}

impl<I, A> Clone for Lane<I, A> {
    fn clone(&self) -> Self {
        Self { statement: self.statement, queue: self.queue.clone() }
    }
}

impl<I: Send + Sync + 'static, A: Send + 'static> Lane<I, A> {
    /// Must be called on the main runtime, where the pool's connections live.
    #[must_use]
    pub fn start(platform: &Platform, kind: Kind, work: Work<I, A>) -> Self {
        let database = platform.database.clone();
        let sizes = platform.metrics.batch_items.with_label_values(&[kind.name]);
        let run = move |items: Arc<Vec<I>>, only| transact(database.clone(), work, items, only).boxed();
        Self::start_with(kind.statement, Some(sizes), run)
    }

    fn start_with(statement: &'static str, sizes: Option<Histogram>, run: impl Run<I, A>) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        tokio::spawn(work_off(waiting, sizes, run));
        Self { statement, queue }
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
    let bounded = async { work(&mut *database.connection().await?, items).await };
    tokio::time::timeout(WORK_TIMEOUT, bounded).await.map_err(|_| DatabaseError::TimedOut)?
}

async fn work_off<I: Send + Sync + 'static, A: Send + 'static>(
    mut queue: mpsc::Receiver<Waiter<I, A>>,
    sizes: Option<Histogram>,
    run: impl Run<I, A>,
) {
    let mut gathered = Vec::new();
    while queue.recv_many(&mut gathered, MOST).await > 0 {
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
