//! Exchanges the latencies that the replicas have measured, by a table.
//!
//! One statement every 0.5 s writes this replica's new slices and reads those of the others. No
//! request waits for it. While the database is away, each replica reports its own latencies, and
//! keeps its slices until it can write them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::store::{self, Incoming, Outgoing};
use super::window::{HISTORY_SECONDS, Slice, Window};
use crate::platform::db::{Database, DatabaseError, WORK_TIMEOUT};

/// Other replicas know a slice after at most twice this time.
const EXCHANGE_INTERVAL: Duration = Duration::from_millis(500);
/// Slices that one statement writes.
const MAX_SLICES: usize = 200;
/// Each exchange reads again what was written in this time before the last exchange: it may have
/// been committed only after that.
const OVERLAP: Duration = Duration::from_secs(WORK_TIMEOUT.as_secs() + 1);
const HISTORY: Duration = Duration::from_secs(HISTORY_SECONDS);
/// How long slices are kept: longer than the history, so that a new replica finds all of it.
const SLICE_RETENTION: Duration = Duration::from_secs(HISTORY_SECONDS + 60);
const CLEANUP_INTERVAL: Duration = Duration::from_secs(60);

/// One replica's side of the exchange.
pub struct Replication {
    window: Arc<Window>,
    replica: Uuid,
    /// When the last exchange began.
    last_exchange: Option<Instant>,
    /// The number of the last slice of each other replica, and when it was read.
    last_read: HashMap<Uuid, (i64, Instant)>,
    failing: bool,
}

impl Replication {
    #[must_use]
    pub fn new(window: Arc<Window>) -> Self {
        Self {
            window,
            replica: Uuid::new_v4(),
            last_exchange: None,
            last_read: HashMap::new(),
            failing: false,
        }
    }

    /// Runs until it is dropped, so that requests which end during a shutdown are reported too.
    pub async fn run(mut self, database: Database) {
        let mut last_cleanup: Option<Instant> = None;
        loop {
            let mut outcome = self.exchange(&database).await;
            let is_due = last_cleanup.is_none_or(|last| last.elapsed() >= CLEANUP_INTERVAL);
            if outcome.is_ok() && is_due {
                last_cleanup = Some(Instant::now());
                outcome = database
                    .run(async |connection| store::remove_old(connection, SLICE_RETENTION).await)
                    .await;
            }
            self.log(&outcome);
            tokio::time::sleep(EXCHANGE_INTERVAL).await;
        }
    }

    async fn exchange(&mut self, database: &Database) -> Result<(), DatabaseError> {
        let pending = self.window.pending(MAX_SLICES);
        let last = pending.last().map(|slice| slice.number);
        let began = Instant::now();
        let since = self.last_exchange.map_or(SLICE_RETENTION, |last| {
            (last.elapsed() + OVERLAP).min(SLICE_RETENTION)
        });
        let exchanged = database.run(async |connection| {
            // Read with the connection in hand, as close as possible to the server's `now()`.
            let now = self.window.now();
            let outgoing: Vec<_> = pending.iter().map(|slice| outgoing(slice, now)).collect();
            let incoming = store::exchange(connection, self.replica, &outgoing, since).await?;
            Ok::<_, DatabaseError>((now, incoming))
        });
        let (now, incoming) = exchanged.await?;
        self.last_exchange = Some(began);
        if let Some(last) = last {
            self.window.ack(last);
        }
        for slice in &incoming {
            self.merge(now, slice);
        }
        self.last_read
            .retain(|_, (_, at)| at.elapsed() < SLICE_RETENTION);
        Ok(())
    }

    /// Merges a slice that was not read before. The slices of a replica come in the order of their
    /// numbers.
    fn merge(&mut self, now: Duration, slice: &Incoming) {
        let (last, at) = self
            .last_read
            .entry(slice.replica)
            .or_insert((0, Instant::now()));
        if slice.number <= *last {
            return;
        }
        (*last, *at) = (slice.number, Instant::now());
        let age = Duration::try_from_secs_f64(slice.age).unwrap_or_default();
        if let Some(packed) = slice.packed().filter(|_| age < HISTORY) {
            self.window.merge(now, age, &packed);
        }
    }

    fn log(&mut self, outcome: &Result<(), DatabaseError>) {
        match outcome {
            Err(error) if !self.failing => {
                tracing::warn!(%error, "the service level has only this replica's requests now");
            }
            Ok(()) if self.failing => {
                tracing::info!("the service level has the requests of all replicas again");
            }
            _ => {}
        }
        self.failing = outcome.is_err();
    }
}

fn outgoing(slice: &Slice, now: Duration) -> Outgoing {
    // The middle of the slice's second, so that a small difference between two clocks does not move
    // the slice to another second.
    let middle = Duration::from_secs(slice.second) + Duration::from_millis(500);
    Outgoing {
        number: slice.number,
        age: now.saturating_sub(middle).as_secs_f64(),
        total_us: slice.packed.total_us,
        latency_histogram: slice.packed.counts.clone(),
    }
}
