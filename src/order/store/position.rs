//! Positions in the live stream: which events a listener has.
//!
//! The highest event id alone does not say that. A transaction takes its ids before it commits, so
//! an event can become visible after events with higher ids. A position therefore names the
//! transactions that were still open.

use std::fmt;
use std::str::FromStr;

use super::snapshot::Snapshot;

#[cfg(test)]
mod tests;

/// Open transactions in the text of a position. It bounds the length of that text, which is the id
/// of a server-sent event.
const MAX_OPEN: usize = 32;

/// The primary key of an event: the transaction that wrote it, and the event's id.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub xid: i64,
    pub id: i64,
}

/// The keys above `after` whose transaction is below `before`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRange {
    pub after: Key,
    pub before: i64,
}

/// The set of events that a listener has.
///
/// It contains every event up to `last` in key order, except events of the transactions in `open`,
/// which had not ended. Its text is `<xid>-<id>` of `last`, followed by the same for each open
/// transaction.
///
/// `last` is the key of a committed event. A server that recovers from a crash never assigns that
/// event's transaction or an earlier one again, except those that were open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position {
    last: Key,
    /// For each open transaction, in ascending order, its last event that the position contains;
    /// id 0 where it contains none.
    open: Vec<Key>,
}

impl Position {
    /// The position that contains the events that the snapshot sees, up to `newest` in key order.
    #[must_use]
    pub fn of(snapshot: &Snapshot, newest: Key) -> Self {
        let open = snapshot
            .in_progress()
            .iter()
            .filter(|xid| **xid < newest.xid);
        Self {
            last: newest,
            open: open.map(|xid| Key { xid: *xid, id: 0 }).collect(),
        }
    }

    /// Whether the snapshot can be later than this position in the same database.
    #[must_use]
    pub fn precedes(&self, snapshot: &Snapshot) -> bool {
        self.last.xid < snapshot.xmax()
    }

    /// The key up to which the position contains every event.
    #[must_use]
    pub fn first_missing_after(&self) -> Key {
        // The open transactions are in ascending order, below the last key.
        self.open.first().copied().unwrap_or(self.last)
    }

    /// The ranges, in ascending order, of the events that the snapshot sees and the position does
    /// not contain. The last range also covers events that the snapshot does not see.
    #[must_use]
    pub fn missing(&self, snapshot: &Snapshot) -> Vec<KeyRange> {
        let ended = self.open.iter().filter(|key| snapshot.sees(key.xid));
        let late = ended.map(|key| KeyRange {
            after: *key,
            before: key.xid + 1,
        });
        late.chain([KeyRange {
            after: self.last,
            before: snapshot.xmax(),
        }])
        .collect()
    }

    /// Adds an event. The events that are missing at a snapshot must be added in key order.
    pub fn advance(&mut self, key: Key, snapshot: &Snapshot) {
        if key > self.last {
            // Events of transactions that were open come first in key order. Those that have
            // ended are complete by now.
            *self = Self::of(snapshot, key);
        } else if let Some(open) = self.open.iter_mut().find(|open| open.xid == key.xid) {
            open.id = key.id;
        }
    }

    /// Forgets the open transactions that have ended. The position must contain every event that
    /// the snapshot sees.
    pub fn forget_ended(&mut self, snapshot: &Snapshot) {
        self.open.retain(|open| !snapshot.sees(open.xid));
    }
}

impl fmt::Display for Position {
    /// Writes at most [`MAX_OPEN`] open transactions, the lowest. Where there are more, the text
    /// stands for fewer events than the position contains, so a listener that resumes there can
    /// get some events again.
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
        // Only the text that `Display` writes is valid, so that each position has one text.
        if xids.is_sorted_by(|lower, higher| lower < higher) && position.to_string() == text {
            Ok(position)
        } else {
            Err(InvalidPosition)
        }
    }
}
