//! The result of a check.

/// Whether what was expected was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Passed,
    Failed,
    /// What was found does not depend on the story's orders alone.
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
