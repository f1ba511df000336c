//! What the tour says, and what it found.

use std::io::IsTerminal;
use std::time::Instant;

pub struct Narrator {
    started: Instant,
    coloured: bool,
    failures: usize,
}

impl Narrator {
    pub fn new() -> Self {
        Self { started: Instant::now(), coloured: std::io::stdout().is_terminal(), failures: 0 }
    }

    pub fn say(&self, what: &str) {
        if self.coloured {
            println!("\n\x1b[1m{what}\x1b[0m");
        } else {
            println!("\n{what}");
        }
    }

    pub fn note(&self, what: &str) {
        let at = self.started.elapsed().as_secs_f64();
        println!("  {at:5.1} s    {what}");
    }

    pub fn check(&mut self, what: &str, well: bool, got: impl std::fmt::Display) {
        self.failures += usize::from(!well);
        let mark = match (well, self.coloured) {
            (true, true) => "\x1b[32m✓\x1b[0m",
            (true, false) => "✓",
            (false, true) => "\x1b[31m✗\x1b[0m",
            (false, false) => "✗",
        };
        let at = self.started.elapsed().as_secs_f64();
        println!("  {at:5.1} s  {mark} {what}: {got}");
    }

    /// Returns how many checks failed.
    pub fn conclude(self) -> usize {
        match self.failures {
            0 => self.say("All is as it should be."),
            1 => self.say("One step was not as it should be."),
            failures => self.say(&format!("{failures} steps were not as they should be.")),
        }
        self.failures
    }
}
