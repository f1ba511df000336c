//! The verdict of a campaign.

use serde::Serialize;

/// The verdict of a campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every kind of fault took effect, every recovery path was taken, and nothing broke.
    Proved,
    /// An invariant or a promise broke, or an order stayed unsettled.
    Broken,
    /// Nothing broke, but a kind of fault never took effect, or a recovery path was never taken.
    Incomplete,
}

impl Verdict {
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Proved => 0,
            Self::Broken => 1,
            Self::Incomplete => 2,
        }
    }
}
