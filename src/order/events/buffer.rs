//! The newest changes, in memory for all listeners of the process.

use std::collections::VecDeque;
use std::sync::Arc;

use super::entry::Entry;
use crate::order::store::{Position, Snapshot};

/// Entries in memory. A poll that finds more keeps none of them.
pub const MAX_BUFFERED: u32 = 5000;
/// Entries that a listener gets at a time.
pub const MAX_PAGE: u32 = 500;

/// How far the reader has read: the position contains exactly the changes that the snapshot sees.
#[derive(Debug, Clone)]
pub struct Head {
    pub snapshot: Snapshot,
    pub position: Position,
}

/// The result of a poll.
pub enum Poll {
    Changes(Head, Vec<Entry>),
    /// The reader skipped the changes before this head. A listener reads them from the database.
    Gap(Head),
}

/// The entries that were read last, numbered in the order in which this process read them.
#[derive(Default)]
pub struct Buffer {
    /// `None` before the first poll.
    head: Option<Head>,
    /// The number of the first entry.
    first_number: u64,
    entries: VecDeque<Arc<Entry>>,
}

impl Buffer {
    pub fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// Makes the next poll start at the end of the database's changes.
    pub fn forget_head(&mut self) {
        self.head = None;
    }

    /// The number that the next entry will have.
    pub fn next_number(&self) -> u64 {
        self.first_number + self.entries.len() as u64
    }

    /// At most [`MAX_PAGE`] entries from that number on; `None` when the buffer no longer has all
    /// of them.
    pub fn page(&self, from: u64) -> Option<Vec<Arc<Entry>>> {
        let skip = usize::try_from(from.checked_sub(self.first_number)?).ok()?;
        let page = self.entries.iter().skip(skip).take(MAX_PAGE as usize);
        Some(page.cloned().collect())
    }

    pub fn add(&mut self, poll: Poll) {
        match poll {
            Poll::Changes(head, entries) => {
                self.head = Some(head);
                self.entries.extend(entries.into_iter().map(Arc::new));
                let surplus = self.entries.len().saturating_sub(MAX_BUFFERED as usize);
                self.entries.drain(..surplus);
                self.first_number += surplus as u64;
            }
            Poll::Gap(head) => {
                self.head = Some(head);
                // Skips a number, so that every listener finds that it has missed an entry.
                self.first_number = self.next_number() + 1;
                self.entries.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        Head {
            snapshot: "9:9:".parse().unwrap(),
            position: Position::default(),
        }
    }

    fn changes(count: u32) -> Poll {
        let entry = |_| Entry {
            position: Position::default(),
            event: None,
        };
        Poll::Changes(head(), (0..count).map(entry).collect())
    }

    fn page_length(buffer: &Buffer, from: u64) -> Option<usize> {
        buffer.page(from).map(|page| page.len())
    }

    #[test]
    fn a_listener_gets_a_page_unless_an_entry_that_it_needs_was_dropped() {
        let mut buffer = Buffer::default();
        assert_eq!(page_length(&buffer, 0), Some(0));
        buffer.add(changes(3));
        assert_eq!(page_length(&buffer, 0), Some(3));
        assert_eq!(page_length(&buffer, 2), Some(1));
        assert_eq!(page_length(&buffer, 3), Some(0));
        buffer.add(changes(MAX_BUFFERED));
        assert_eq!(buffer.entries.len(), MAX_BUFFERED as usize);
        assert_eq!(page_length(&buffer, 2), None);
        assert_eq!(page_length(&buffer, 3), Some(MAX_PAGE as usize));
    }

    #[test]
    fn no_listener_continues_across_a_gap() {
        let mut buffer = Buffer::default();
        buffer.add(changes(3));
        let before = buffer.next_number();
        buffer.add(Poll::Gap(head()));
        assert_eq!(page_length(&buffer, before), None);
        let after = buffer.next_number();
        buffer.add(changes(2));
        assert_eq!(page_length(&buffer, before), None);
        assert_eq!(page_length(&buffer, after), Some(2));
    }
}
