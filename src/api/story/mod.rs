//! The story that `valerix gremlin tour` tells in the terminal, and the dashboard on its page: the
//! texts of each chapter, and what is done and expected in it. Both run this one script.
//!
//! `chapter` says what a chapter consists of, and `script` holds the chapters.

mod chapter;
mod script;

pub use chapter::{Action, Captions, Chapter, LightStatus, Story, StoryRule, StoryService};

/// The story that this release tells.
pub const STORY: Story = Story {
    introduction: "The mock payment gateway declines payments on purpose: one in ten, unless \
                   PAYMENT_SUCCESS_RATE says otherwise. A 402 is no fault.",
    min_stock: 80,
    chapters: &script::CHAPTERS,
};
