//! The retry budget of a dependency.

/// The budget holds at most ten retries, and starts full.
const MAX_TENTHS: u32 = 100;

/// Limits retries to a tenth of the calls, so that they never multiply an overload.
#[derive(Debug)]
pub struct RetryBudget {
    /// Available tenths of a retry.
    tenths: u32,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { tenths: MAX_TENTHS }
    }
}

impl RetryBudget {
    /// Adds a tenth of a retry for a call.
    pub fn deposit(&mut self) {
        self.tenths = (self.tenths + 1).min(MAX_TENTHS);
    }

    /// Takes one retry. Returns false, and takes nothing, if the budget has less than one.
    pub fn withdraw(&mut self) -> bool {
        let remaining = self.tenths.checked_sub(10);
        self.tenths = remaining.unwrap_or(self.tenths);
        remaining.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_at_most_a_tenth_of_the_calls_in_the_long_run() {
        let mut budget = RetryBudget::default();
        let initial = (0..100).filter(|_| budget.withdraw()).count();
        assert_eq!(initial, 10, "the budget starts full");
        let earned = (0..1000).filter(|_| {
            budget.deposit();
            budget.withdraw()
        });
        assert_eq!(earned.count(), 100);
    }
}
