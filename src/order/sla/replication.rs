//! Replicas tell each other how long their requests took, by a table: one statement twice a second,
//! in no request's way. While the database is away each goes on with its own figures, and what it
//! could not tell it tells later.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::store::{self, Heard, Telling};
use super::{HISTORY_SECONDS, Slice, Window};
use crate::platform::db::{Database, DatabaseError, WORK_TIMEOUT};

/// What a replica did is known to all within twice this.
const EVERY: Duration = Duration::from_millis(500);
/// Told by one statement.
const MOST_TOLD: usize = 200;
/// Looked back beyond the last look: what was written before it can have become visible after it,
/// by so much.
const OVERLAP: Duration = Duration::from_secs(WORK_TIMEOUT.as_secs() + 1);
const HISTORY: Duration = Duration::from_secs(HISTORY_SECONDS);
/// A new replica still finds the whole history.
const KEPT: Duration = Duration::from_secs(HISTORY_SECONDS + 60);
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// One replica's part in it.
pub struct Sharing {
    window: Arc<Window>,
    replica: Uuid,
    /// When it last heard the others.
    heard_at: Option<Instant>,
    /// The last number of each other replica, and when it came.
    heard: HashMap<Uuid, (i64, Instant)>,
    failing: bool,
}

impl Sharing {
    #[must_use]
    pub fn new(window: Arc<Window>) -> Self {
        let replica = Uuid::new_v4();
        Self {
            window,
            replica,
            heard_at: None,
            heard: HashMap::new(),
            failing: false,
        }
    }

    /// Goes on for as long as the process lives: what is still answered while it stops counts too.
    pub async fn run(mut self, database: Database) {
        let mut forgot: Option<Instant> = None;
        loop {
            let mut outcome = self.exchange(&database).await;
            if outcome.is_ok() && forgot.is_none_or(|last| last.elapsed() >= FORGET_EVERY) {
                forgot = Some(Instant::now());
                outcome = database
                    .run(async |connection| store::forget(connection, KEPT).await)
                    .await;
            }
            self.log(&outcome);
            tokio::time::sleep(EVERY).await;
        }
    }

    async fn exchange(&mut self, database: &Database) -> Result<(), DatabaseError> {
        let untold = self.window.untold(MOST_TOLD);
        let last = untold.last().map(|slice| slice.number);
        let asked = Instant::now();
        let since = self
            .heard_at
            .map_or(KEPT, |last| (last.elapsed() + OVERLAP).min(KEPT));
        let exchanged = database.run(async |connection| {
            // With the connection in hand: this moment is as near to the server's as can be.
            let now = self.window.now();
            let news: Vec<_> = untold.iter().map(|slice| telling(slice, now)).collect();
            let heard = store::exchange(connection, self.replica, &news, since).await?;
            Ok::<_, DatabaseError>((now, heard))
        });
        let (now, heard) = exchanged.await?;
        self.heard_at = Some(asked);
        if let Some(last) = last {
            self.window.told(last);
        }
        for heard in &heard {
            self.hear(now, heard);
        }
        self.heard.retain(|_, (_, at)| at.elapsed() < KEPT);
        Ok(())
    }

    /// A replica's slices come in the order of their numbers, the last ones more than once.
    fn hear(&mut self, now: Duration, heard: &Heard) {
        let (last, at) = self
            .heard
            .entry(heard.replica)
            .or_insert((0, Instant::now()));
        if heard.number <= *last {
            return;
        }
        (*last, *at) = (heard.number, Instant::now());
        let age = Duration::try_from_secs_f64(heard.age).unwrap_or_default();
        if let Some(packed) = heard.packed().filter(|_| age < HISTORY) {
            self.window.hear(now, age, &packed);
        }
    }

    fn log(&mut self, outcome: &Result<(), DatabaseError>) {
        match outcome {
            Err(error) if !self.failing => {
                tracing::warn!(%error, "the service level is this replica's own for now: the others cannot be heard");
            }
            Ok(()) if self.failing => {
                tracing::info!("the service level is that of all replicas again")
            }
            _ => {}
        }
        self.failing = outcome.is_err();
    }
}

fn telling(slice: &Slice, now: Duration) -> Telling {
    // The middle of its second: what two clocks differ by does not move it into another.
    let middle = Duration::from_secs(slice.second) + Duration::from_millis(500);
    Telling {
        number: slice.number,
        age: now.saturating_sub(middle).as_secs_f64(),
        total_us: slice.packed.total_us,
        took: slice.packed.took.clone(),
    }
}
