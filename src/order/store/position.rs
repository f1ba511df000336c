//! Positions in the live stream: which events a listener has, in terms of transactions and
//! snapshots.
//!
//! The numbers of events cannot say what a listener has: a transaction takes its numbers long
//! before it commits, so an event can become visible after others with higher numbers.

use std::fmt;
use std::str::FromStr;

/// Transactions that the text of a position names at most. It bounds the size of an event's id.
const MAX_OPEN: usize = 32;

/// An event's primary key: the transaction that wrote it, and its number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub xid: i64,
    pub id: i64,
}

/// The transactions that a statement sees, as `pg_current_snapshot()` gives them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    text: String,
    /// No transaction from this one on had ended.
    xmax: i64,
    /// Transactions below `xmax` that had not ended, in ascending order.
    in_progress: Vec<i64>,
}

#[derive(Debug, thiserror::Error)]
#[error("not a snapshot: {0}")]
pub struct InvalidSnapshot(String);

impl FromStr for Snapshot {
    type Err = InvalidSnapshot;

    /// Reads `xmin:xmax:xid,xid,…`.
    fn from_str(text: &str) -> Result<Self, InvalidSnapshot> {
        let invalid = || InvalidSnapshot(text.to_owned());
        let mut parts = text.split(':').skip(1);
        let xmax = parts
            .next()
            .and_then(|xmax| xmax.parse().ok())
            .ok_or_else(invalid)?;
        let list = parts
            .next()
            .ok_or_else(invalid)?
            .split(',')
            .filter(|xid| !xid.is_empty());
        let in_progress: Result<_, _> = list.map(str::parse).collect();
        Ok(Self {
            text: text.to_owned(),
            xmax,
            in_progress: in_progress.map_err(|_| invalid())?,
        })
    }
}

impl Snapshot {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the transaction had ended.
    #[must_use]
    pub fn sees(&self, xid: i64) -> bool {
        xid < self.xmax && self.in_progress.binary_search(&xid).is_err()
    }
}

/// Keys above `after` whose transaction is below `before`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub after: Key,
    pub before: i64,
}

/// A set of events that a listener has.
///
/// It holds every event up to `last` in key order, except those that the transactions in `open` had
/// still to commit. With no older transaction open it is one key, and its text is `<xid>-<id>`.
///
/// `last` is the key of a committed event. A server that crashes and recovers never assigns that
/// event's transaction or a lower one again, other than those that were open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position {
    last: Key,
    /// For each open transaction, in ascending order, the number up to which its events are held.
    open: Vec<Key>,
}

impl Position {
    /// The position that holds exactly the events that the snapshot sees, of which `newest` is the
    /// last.
    #[must_use]
    pub fn of(snapshot: &Snapshot, newest: Key) -> Self {
        let open = snapshot.in_progress.iter().filter(|xid| **xid < newest.xid);
        Self {
            last: newest,
            open: open.map(|xid| Key { xid: *xid, id: 0 }).collect(),
        }
    }

    /// Whether the snapshot can have come after this position in the same database.
    #[must_use]
    pub fn precedes(&self, snapshot: &Snapshot) -> bool {
        self.last.xid < snapshot.xmax
    }

    /// Where the events are that the snapshot sees and the position does not hold, in ascending
    /// order. The last range also has events that the snapshot does not see.
    #[must_use]
    pub fn missing(&self, snapshot: &Snapshot) -> Vec<Range> {
        let ended = self.open.iter().filter(|key| snapshot.sees(key.xid));
        let late = ended.map(|key| Range {
            after: *key,
            before: key.xid + 1,
        });
        late.chain([Range {
            after: self.last,
            before: snapshot.xmax,
        }])
        .collect()
    }

    /// Adds the next event, in key order, of those that are missing at the snapshot.
    pub fn advance(&mut self, key: Key, snapshot: &Snapshot) {
        if key > self.last {
            // Late events come first in key order: of the transactions that ended, nothing is
            // missing.
            *self = Self::of(snapshot, key);
        } else if let Some(open) = self.open.iter_mut().find(|open| open.xid == key.xid) {
            open.id = key.id;
        }
    }

    /// Forgets transactions that ended, once every event that the snapshot sees is held.
    pub fn complete(&mut self, snapshot: &Snapshot) {
        self.open.retain(|open| !snapshot.sees(open.xid));
    }
}

impl fmt::Display for Position {
    /// Of more than [`MAX_OPEN`] open transactions, the lowest are named. The text then stands for
    /// fewer events than the position holds, so a listener that resumes there can get some of
    /// them again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.open.get(MAX_OPEN).unwrap_or(&self.last);
        write!(f, "{}-{}", last.xid, last.id)?;
        self.open
            .iter()
            .take(MAX_OPEN)
            .try_for_each(|open| write!(f, "-{}-{}", open.xid, open.id))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("not a position in the stream")]
pub struct InvalidPosition;

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let numbers: Result<Vec<i64>, _> = text.split('-').map(str::parse).collect();
        let numbers = numbers.map_err(|_| InvalidPosition)?;
        let (pairs, []) = numbers.as_chunks::<2>() else {
            return Err(InvalidPosition);
        };
        let mut keys = pairs.iter().map(|[xid, id]| Key { xid: *xid, id: *id });
        let last = keys.next().ok_or(InvalidPosition)?;
        let position = Self {
            last,
            open: keys.collect(),
        };
        let xids = position
            .open
            .iter()
            .chain([&position.last])
            .map(|key| key.xid);
        // As it was given out, and in no other way of writing the same.
        if xids.is_sorted_by(|lower, higher| lower < higher) && position.to_string() == text {
            Ok(position)
        } else {
            Err(InvalidPosition)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_position_survives_its_text_form_and_has_only_one() {
        for text in [
            "0-0",
            "812-9",
            "812-9-805-0-807-3",
            "9223372036854775807-9223372036854775807",
        ] {
            assert_eq!(text.parse::<Position>().unwrap().to_string(), text);
        }
        for wrong in [
            "",
            "-",
            "7",
            "-7",
            "1-2-",
            "x-1",
            "1-2-3",
            "+1-2",
            "01-2",
            "1-2 ",
            "5-1-5-0",
            "5-1-3-0-2-0",
        ] {
            assert!(wrong.parse::<Position>().is_err(), "{wrong}");
        }
        assert!("9223372036854775808-1".parse::<Position>().is_err());
    }

    #[test]
    fn a_snapshot_sees_what_had_ended() {
        let snapshot: Snapshot = "5:9:5,7".parse().unwrap();
        let seen: Vec<i64> = (0..12).filter(|xid| snapshot.sees(*xid)).collect();
        assert_eq!(seen, [0, 1, 2, 3, 4, 6, 8]);
        assert!("5:9:".parse::<Snapshot>().unwrap().sees(5));
        for wrong in ["", "5:9", "5:x:", "5:9:a"] {
            assert!(wrong.parse::<Snapshot>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_text_of_a_position_is_bounded_and_never_claims_too_much() {
        let snapshot = snapshot(&(1..=40).collect(), 50);
        let position = Position::of(&snapshot, Key { xid: 45, id: 7 });
        let text = position.to_string();
        let shorter: Position = text.parse().unwrap();
        assert_eq!(shorter.open, position.open[..MAX_OPEN]);
        assert_eq!(shorter.last, Key { xid: 33, id: 0 });
    }

    fn snapshot(open: &BTreeSet<i64>, xmax: i64) -> Snapshot {
        let list: Vec<_> = open.iter().map(ToString::to_string).collect();
        format!(
            "{}:{xmax}:{}",
            open.first().unwrap_or(&xmax),
            list.join(",")
        )
        .parse()
        .unwrap()
    }

    /// A server: each transaction writes some events and commits or aborts, in any order.
    #[derive(Default)]
    struct Model {
        next_xid: i64,
        next_id: i64,
        open: BTreeSet<i64>,
        written: Vec<Key>,
        committed: BTreeSet<Key>,
    }

    impl Model {
        fn begin(&mut self) {
            self.next_xid += 1;
            self.open.insert(self.next_xid);
        }

        fn act(&mut self, chosen: usize, write: bool, commit: bool) {
            let Some(xid) = self
                .open
                .iter()
                .nth(chosen % self.open.len().max(1))
                .copied()
            else {
                return;
            };
            if write {
                self.next_id += 1;
                self.written.push(Key {
                    xid,
                    id: self.next_id,
                });
            } else {
                self.open.remove(&xid);
                let (ended, rest) = self.written.iter().partition(|key: &&Key| key.xid == xid);
                self.written = rest;
                let ended: Vec<Key> = ended;
                self.committed.extend(ended.iter().filter(|_| commit));
            }
        }

        /// Transactions that wrote nothing to disk are forgotten, and what follows gets their
        /// numbers.
        fn crash(&mut self) {
            self.open.clear();
            self.written.clear();
            self.next_xid = self.committed.last().map_or(0, |key| key.xid);
        }

        fn snapshot(&self) -> Snapshot {
            // As the server has it: one above the last transaction that ended.
            let last_ended = (1..=self.next_xid)
                .rev()
                .find(|xid| !self.open.contains(xid));
            let xmax = last_ended.unwrap_or_default() + 1;
            snapshot(&self.open.range(..xmax).copied().collect(), xmax)
        }

        /// As the store's statement reads them.
        fn changes(&self, position: &Position, snapshot: &Snapshot, limit: usize) -> Vec<Key> {
            let ranges = position.missing(snapshot);
            let is_in = |key: &Key| {
                ranges
                    .iter()
                    .any(|range| *key > range.after && key.xid < range.before)
            };
            let missing = self
                .committed
                .iter()
                .filter(|key| is_in(key) && snapshot.sees(key.xid));
            missing.take(limit).copied().collect()
        }
    }

    proptest! {
        #[test]
        fn whoever_resumes_anywhere_gets_exactly_what_is_missing(
            steps in prop::collection::vec((0..10_u8, 0..6_usize, 1..4_usize), 1..120),
        ) {
            let mut model = Model::default();
            let mut position = Position::default();
            let mut held = Vec::new();
            // Each position that was given out, and how many events were held there.
            let mut given = vec![(position.to_string(), 0)];
            let mut read = |model: &Model, limit: usize, resume: bool| {
                let snapshot = model.snapshot();
                let mut from = if resume { position.to_string().parse().unwrap() } else { position.clone() };
                prop_assert!(from.precedes(&snapshot));
                loop {
                    let page = model.changes(&from, &snapshot, limit);
                    for key in &page {
                        from.advance(*key, &snapshot);
                        held.push(*key);
                        given.push((from.to_string(), held.len()));
                    }
                    if page.len() < limit {
                        break;
                    }
                }
                if !resume {
                    from.complete(&snapshot);
                }
                position = from;
                let committed: Vec<_> = model.committed.iter().copied().collect();
                let mut sorted = held.clone();
                sorted.sort_unstable();
                prop_assert_eq!(sorted, committed);
                Ok(())
            };
            for (step, chosen, limit) in steps {
                match step {
                    0 | 1 => model.begin(),
                    2..=4 => model.act(chosen, true, true),
                    5 => model.act(chosen, false, chosen != 0),
                    6 if chosen == 0 => model.crash(),
                    _ => read(&model, limit, step == 9)?,
                }
            }
            read(&model, 3, false)?;
            let snapshot = model.snapshot();
            for (text, count) in given {
                let mut missing = model.changes(&text.parse().unwrap(), &snapshot, usize::MAX);
                let mut later = held[count..].to_vec();
                missing.sort_unstable();
                later.sort_unstable();
                prop_assert_eq!(missing, later, "resumed at {}", text);
            }
            let newest = model.committed.last().copied().unwrap_or_default();
            prop_assert!(model.changes(&Position::of(&snapshot, newest), &snapshot, 1).is_empty());
        }
    }
}
