//! The report as text.

use std::collections::BTreeMap;
use std::fmt;

use super::result::Report;
use super::verdict::Verdict;
use super::wrapping::{words, write_wrapped};
use crate::prove::check::Findings;
use crate::prove::config::SETTLE_TIMEOUT;

/// Columns of the title before a list.
const TITLE_WIDTH: usize = 18;
/// Examples that are printed of each kind of finding. The JSON report has all findings.
const MAX_EXAMPLES: usize = 3;
const EXAMPLE_INDENT: usize = 6;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Campaign with seed {}, {} s", self.seed, self.seconds)?;
        let settled = match self.unsettled {
            0 => format!("{} s after the last fault ended", self.seconds_to_settle),
            unsettled => format!(
                "not within {} s after the last fault ended: {unsettled} orders unsettled",
                SETTLE_TIMEOUT.as_secs()
            ),
        };
        let tried_again = format!("{} customers", self.tried_again);
        let orders = format!(
            "{} planned, {} added in directed rounds",
            self.orders.planned, self.orders.added
        );
        for (title, pieces) in [
            ("orders", words(&orders)),
            ("answers", list(&self.answers)),
            ("tried again", words(&tried_again)),
            ("all tries", list(&self.tries)),
            ("operators", list(&self.operators)),
            ("deliveries", list(&self.deliveries)),
            ("faults", list(&self.faults)),
            ("directed rounds", list(&self.directed_rounds)),
            ("failpoints", list(&self.failpoints)),
            ("recovery paths", list(&self.recovery_paths)),
            ("settled", words(&settled)),
        ] {
            write_wrapped(f, &format!("  {title:<16}"), TITLE_WIDTH, &pieces)?;
            writeln!(f)?;
        }
        write_findings(f, &self.findings)?;
        writeln!(f, "{}", self.audit)?;
        if self.verdict == Verdict::Broken && !self.never_ran.is_empty() {
            let never_ran = format!("Never ran: {}.", self.never_ran.join(", "));
            write_wrapped(f, "", 0, &words(&never_ran))?;
            writeln!(f)?;
        }
        write_wrapped(f, "", 0, &words(&self.summary()))
    }
}

fn write_findings(f: &mut fmt::Formatter<'_>, findings: &Findings) -> fmt::Result {
    for (name, found) in findings.by_name() {
        let mark = if found.is_empty() { "✓" } else { "✗" };
        writeln!(f, "  {mark} {name:<18} {}", found.len())?;
        for example in found.iter().take(MAX_EXAMPLES) {
            let indent = " ".repeat(EXAMPLE_INDENT);
            write_wrapped(f, &indent, EXAMPLE_INDENT, &words(example))?;
            writeln!(f)?;
        }
    }
    Ok(())
}

/// Each name with its count and a comma, as pieces for [`write_wrapped`].
fn list<T: fmt::Display>(counts: &BTreeMap<String, T>) -> Vec<String> {
    let items = counts.iter().map(|(name, count)| format!("{name} {count}"));
    let mut items: Vec<_> = items.collect();
    let Some((_, before_last)) = items.split_last_mut() else {
        return vec!["none".to_owned()];
    };
    for item in before_last {
        item.push(',');
    }
    items
}
