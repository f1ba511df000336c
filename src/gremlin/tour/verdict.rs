//! Verdicts on checks.

/// The verdict on a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Passed,
    Failed,
    /// The check cannot be decided, for instance because other customers influence the result.
    NotJudged,
}

impl Verdict {
    pub const fn of(passed: bool) -> Self {
        if passed { Self::Passed } else { Self::Failed }
    }

    /// `None` if the check was not judged.
    pub const fn passed(self) -> Option<bool> {
        match self {
            Self::Passed => Some(true),
            Self::Failed => Some(false),
            Self::NotJudged => None,
        }
    }
}
