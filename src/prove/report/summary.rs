//! The verdict in one sentence.

use super::breaches::breaches;
use super::result::Report;
use super::verdict::Verdict;

impl Report {
    /// Says what broke, or what never ran and which flags to raise.
    #[must_use]
    pub fn summary(&self) -> String {
        match self.verdict {
            Verdict::Proved => "Proved.".to_owned(),
            Verdict::Broken => {
                let breaches = breaches(&self.findings, &self.audit, self.unsettled);
                format!("Broken: {}.", breaches.join(", "))
            }
            Verdict::Incomplete => {
                let raise = |(flag, value)| format!("{flag} to at least {value}");
                let flags: Vec<_> = self.flags_to_raise.iter().map(raise).collect();
                format!(
                    "Incomplete: nothing broke, but these never ran: {}. Raise {}.",
                    self.never_ran.join(", "),
                    join_with_and(&flags)
                )
            }
        }
    }
}

fn join_with_and(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [only] => only.clone(),
        [others @ .., last] => format!("{} and {last}", others.join(", ")),
    }
}
