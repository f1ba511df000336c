//! Draws the actions of operators on the orders of a campaign.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use strum::{Display, VariantArray};

use super::draw_duration::draw_duration;

/// Shares of the orders that are cancelled, fulfilled, both, or tried again.
const CANCELLED_SHARE: f64 = 0.10;
const FULFILLED_SHARE: f64 = 0.15;
/// Half of them are cancelled first, the others fulfilled first.
const CANCELLED_AND_FULFILLED_SHARE: f64 = 0.06;
const RETRIED_SHARE: f64 = 0.03;
/// Share of the operators that send an answered request once more.
const REPEAT_SHARE: f64 = 0.3;
/// Share of the operators whose actions begin at the same time.
const SIMULTANEOUS_SHARE: f64 = 0.5;
const MAX_DELAY_MS: u64 = 3000;
const MAX_INTERVAL_MS: u64 = 1000;

/// An action of an operator on an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Display, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum OperatorAction {
    Cancel,
    Fulfil,
    Retry,
}

/// When an operator begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperatorStart {
    /// As soon as the order is listed, which may be before its request is answered.
    WhenListed,
    /// This long after the customer was answered with the order's id.
    AfterAnswer(Duration),
}

/// The operator actions on one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorPlan {
    pub start: OperatorStart,
    pub actions: &'static [OperatorAction],
    /// Each action begins this much later than the one before it; zero for actions at the same
    /// time.
    pub interval: Duration,
    /// Whether each request is sent once more after an answer.
    pub repeats: bool,
}

impl OperatorPlan {
    /// Draws a plan, for some of the orders.
    pub fn draw(random: &mut StdRng) -> Option<Self> {
        let mut share: f64 = random.random();
        let start = match random.random_range(0..4) {
            0 => OperatorStart::WhenListed,
            1 => OperatorStart::AfterAnswer(Duration::ZERO),
            _ => OperatorStart::AfterAnswer(draw_duration(random, 0, MAX_DELAY_MS)),
        };
        let repeats = random.random_bool(REPEAT_SHARE);
        let is_simultaneous = random.random_bool(SIMULTANEOUS_SHARE);
        let interval = draw_duration(random, 0, MAX_INTERVAL_MS);
        let choices: [(f64, &'static [OperatorAction]); 5] = [
            (CANCELLED_SHARE, &[OperatorAction::Cancel]),
            (FULFILLED_SHARE, &[OperatorAction::Fulfil]),
            (
                CANCELLED_AND_FULFILLED_SHARE / 2.0,
                &[OperatorAction::Cancel, OperatorAction::Fulfil],
            ),
            (
                CANCELLED_AND_FULFILLED_SHARE / 2.0,
                &[OperatorAction::Fulfil, OperatorAction::Cancel],
            ),
            (RETRIED_SHARE, &[OperatorAction::Retry]),
        ];
        for (of_all, actions) in choices {
            if share < of_all {
                return Some(Self {
                    start,
                    actions,
                    interval: if is_simultaneous {
                        Duration::ZERO
                    } else {
                        interval
                    },
                    repeats,
                });
            }
            share -= of_all;
        }
        None
    }

    /// Returns a plan whose actions begin at the same time, when the customer is answered.
    #[must_use]
    pub const fn at_once(actions: &'static [OperatorAction]) -> Self {
        Self {
            start: OperatorStart::AfterAnswer(Duration::ZERO),
            actions,
            interval: Duration::ZERO,
            repeats: false,
        }
    }
}
