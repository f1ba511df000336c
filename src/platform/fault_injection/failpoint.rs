//! Crash points: named places between the steps of a service where a test makes the real process
//! abort or stall.
//!
//! Set at start, by a hidden flag or its variable. When off, a point is one load and a branch.

use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Every point there is; the tests run each of them.
pub const POINTS: &[&str] = &[
    "order.placed",
    "order.reserved",
    "order.charged",
    "order.confirmed",
    "order.failed",
    "order.pending",
    "order.released",
    "order.claimed",
    "inventory.reserve.begin",
    "inventory.reserve.committed",
    "inventory.release.begin",
    "inventory.release.committed",
    "payment.charge.begin",
    "payment.charge.decided",
    "payment.charge.committed",
    "payment.void.begin",
    "payment.void.committed",
];

/// What happens at which point: `order.placed=abort`, `order.placed=stall:3000`,
/// `order.placed=abort@2` (the second time).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    point: String,
    action: Action,
    /// At which passing, the first being 1; 0 for each.
    turn: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Abort,
    Stall(Duration),
}

impl FromStr for Plan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (point, action) = text
            .split_once('=')
            .ok_or("point=abort or point=stall:ms, with @turn")?;
        let (action, turn) = action.split_once('@').unwrap_or((action, "1"));
        let action = match action.split_once(':') {
            None if action == "abort" => Action::Abort,
            Some(("stall", ms)) => Action::Stall(Duration::from_millis(
                ms.parse().map_err(|_| "stall:milliseconds")?,
            )),
            _ => return Err("abort or stall:milliseconds".to_owned()),
        };
        if !POINTS.contains(&point) {
            return Err(format!("one of {}", POINTS.join(", ")));
        }
        Ok(Self {
            point: point.to_owned(),
            action,
            turn: turn.parse().map_err(|_| "@turn, a number")?,
        })
    }
}

struct Armed {
    plan: Plan,
    passed: AtomicU32,
}

static ARMED: OnceLock<Armed> = OnceLock::new();

/// Arms one point for the life of the process.
pub fn arm(plan: Plan) {
    // Only the first counts; a process is armed once, at its start.
    let _ = ARMED.set(Armed {
        plan,
        passed: AtomicU32::new(0),
    });
}

/// A place where the process may be made to die or to stall.
pub async fn point(name: &'static str) {
    if let Some(armed) = ARMED.get() {
        armed.reach(name).await;
    }
}

impl Armed {
    async fn reach(&self, name: &'static str) {
        debug_assert!(POINTS.contains(&name), "{name} is not listed");
        if self.plan.point != name {
            return;
        }
        let turn = self.passed.fetch_add(1, Ordering::Relaxed) + 1;
        if self.plan.turn != 0 && self.plan.turn != turn {
            return;
        }
        tracing::error!(point = name, "crash point reached");
        match self.plan.action {
            Action::Abort => std::process::abort(),
            Action::Stall(duration) => tokio::time::sleep(duration).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_read_whole_or_refused() {
        let plan = Plan::from_str("order.placed=stall:30@2").unwrap();
        assert_eq!(
            (plan.turn, plan.action),
            (2, Action::Stall(Duration::from_millis(30)))
        );
        assert_eq!(Plan::from_str("order.placed=abort").unwrap().turn, 1);
        for wrong in [
            "",
            "order.placed",
            "nowhere=abort",
            "order.placed=stall",
            "order.placed=abort@x",
        ] {
            assert!(Plan::from_str(wrong).is_err(), "{wrong}");
        }
    }
}
