use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

#[test]
fn a_position_has_one_text_and_is_read_back_from_it() {
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
fn a_text_names_at_most_32_open_transactions_and_stands_for_fewer_events() {
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

/// A database server. Transactions write events and commit or abort, in any order.
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

    /// Loses every transaction after the last commit. Later ones get their numbers.
    fn crash(&mut self) {
        self.open.clear();
        self.written.clear();
        self.next_xid = self.committed.last().map_or(0, |key| key.xid);
    }

    fn snapshot(&self) -> Snapshot {
        // As PostgreSQL computes it: one above the highest transaction that has ended.
        let last_ended = (1..=self.next_xid)
            .rev()
            .find(|xid| !self.open.contains(xid));
        let xmax = last_ended.unwrap_or_default() + 1;
        snapshot(&self.open.range(..xmax).copied().collect(), xmax)
    }

    /// The changes that the store's statement would read.
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
    fn resuming_at_any_position_yields_exactly_the_missing_events(
        steps in prop::collection::vec((0..10_u8, 0..6_usize, 1..4_usize), 1..120),
    ) {
        let mut model = Model::default();
        let mut position = Position::default();
        let mut held = Vec::new();
        // The text of each position, and the number of events that it contains.
        let mut positions = vec![(position.to_string(), 0)];
        let mut read = |model: &Model, limit: usize, resume: bool| {
            let snapshot = model.snapshot();
            let mut from = if resume {
                position.to_string().parse().unwrap()
            } else {
                position.clone()
            };
            prop_assert!(from.precedes(&snapshot));
            loop {
                let page = model.changes(&from, &snapshot, limit);
                for key in &page {
                    from.advance(*key, &snapshot);
                    held.push(*key);
                    positions.push((from.to_string(), held.len()));
                }
                if page.len() < limit {
                    break;
                }
            }
            if !resume {
                from.forget_ended(&snapshot);
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
        for (text, count) in positions {
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
