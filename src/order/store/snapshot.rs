//! Database snapshots: which transactions a statement sees.

use std::str::FromStr;

/// A value of `pg_current_snapshot()`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    text: String,
    /// Neither this transaction nor any later one had ended.
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
    /// As the database writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first of the transactions of which none had ended.
    #[must_use]
    pub fn xmax(&self) -> i64 {
        self.xmax
    }

    /// Transactions below [`Snapshot::xmax`] that had not ended, in ascending order.
    #[must_use]
    pub fn in_progress(&self) -> &[i64] {
        &self.in_progress
    }

    /// Whether the transaction had ended. Its changes are visible if it committed.
    #[must_use]
    pub fn sees(&self, xid: i64) -> bool {
        xid < self.xmax && self.in_progress.binary_search(&xid).is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_sees_the_transactions_that_had_ended() {
        let snapshot: Snapshot = "5:9:5,7".parse().unwrap();
        let seen: Vec<i64> = (0..12).filter(|xid| snapshot.sees(*xid)).collect();
        assert_eq!(seen, [0, 1, 2, 3, 4, 6, 8]);
        assert!("5:9:".parse::<Snapshot>().unwrap().sees(5));
    }

    #[test]
    fn other_texts_are_no_snapshots() {
        for wrong in ["", "5:9", "5:x:", "5:9:a"] {
            assert!(wrong.parse::<Snapshot>().is_err(), "{wrong}");
        }
    }
}
