//! The report as text.

use std::collections::BTreeMap;
use std::fmt;

use super::result::Report;
use super::verdict::Verdict;
use crate::platform::plural::count;
use crate::platform::{output, text_table};
use crate::prove::check::Findings;
use crate::prove::config::SETTLE_TIMEOUT;

/// Examples that are printed of each kind of finding. The JSON report has all findings.
const MAX_EXAMPLES: usize = 3;
const EXAMPLE_INDENT: usize = 6;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Campaign with seed {}, {} s", self.seed, self.seconds)?;
        let settled = match self.unsettled {
            0 => format!("{} s after the last fault ended", self.seconds_to_settle),
            unsettled => format!(
                "not within {} s after the last fault ended: {} unsettled",
                SETTLE_TIMEOUT.as_secs(),
                count(unsettled, "order")
            ),
        };
        let tried_again = count(self.tried_again, "customer");
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
            write_wrapped(f, &format!("  {title:<16}"), &pieces)?;
        }
        write_findings(f, &self.findings)?;
        writeln!(f, "{}", self.audit)?;
        if self.verdict == Verdict::Broken && !self.never_ran.is_empty() {
            let never_ran = format!("Never ran: {}.", self.never_ran.join(", "));
            write_wrapped(f, "", &words(&never_ran))?;
        }
        f.write_str(&output::wrapped(&self.summary(), text_table::WIDTH).join("\n"))
    }
}

fn write_findings(f: &mut fmt::Formatter<'_>, findings: &Findings) -> fmt::Result {
    for (name, found) in findings.by_name() {
        let mark = if found.is_empty() { "✓" } else { "✗" };
        writeln!(f, "  {mark} {name:<19} {}", found.len())?;
        for example in found.iter().take(MAX_EXAMPLES) {
            write_wrapped(f, &" ".repeat(EXAMPLE_INDENT), &words(example))?;
        }
    }
    Ok(())
}

/// Each name with its count and a comma, as pieces that are not split.
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

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

/// Writes pieces of text in lines. The first line starts with the title, all others are indented by
/// its width.
fn write_wrapped(f: &mut fmt::Formatter<'_>, title: &str, pieces: &[String]) -> fmt::Result {
    let indent = title.chars().count();
    let pieces = pieces.iter().map(String::as_str);
    let lines = output::wrapped_pieces(pieces, text_table::WIDTH - indent);
    for (number, line) in lines.iter().enumerate() {
        let start = if number == 0 { title } else { "" };
        writeln!(f, "{start:<indent$}{line}")?;
    }
    Ok(())
}
