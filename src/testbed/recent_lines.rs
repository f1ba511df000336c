//! The last lines that a process printed, for the message of an error.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

const MAX_LINES: usize = 20;

/// Keeps the last 20 lines. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct RecentLines(Arc<Mutex<VecDeque<String>>>);

impl RecentLines {
    pub fn push(&self, line: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == MAX_LINES {
            lines.pop_front();
        }
        lines.push_back(line.to_owned());
    }

    /// The lines with line breaks between them.
    #[must_use]
    pub fn text(&self) -> String {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.make_contiguous().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_twenty_lines_are_kept() {
        let lines = RecentLines::default();
        for number in 1..=25 {
            lines.clone().push(&number.to_string());
        }
        let text = lines.text();
        assert_eq!(
            (text.lines().next(), text.lines().last()),
            (Some("6"), Some("25"))
        );
    }
}
