//! Failpoints: named points between the steps of a service, at which a test makes the process abort
//! or stall.
//!
//! A failpoint is armed at the start of the process, by a hidden flag or its environment variable.
//! A failpoint that is not armed costs a load and a branch. Each service lists its own failpoints.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A failpoint and its action: `order.placed=abort`, `order.placed=stall:3000` (milliseconds),
/// or `order.placed=abort@2` for the second time that the failpoint is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    point: String,
    action: Action,
    /// How many times the failpoint must be reached for the action, at least 1; 0 for every time.
    hit: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Abort,
    Stall(Duration),
}

impl Plan {
    /// Parses a plan for one of the `known` failpoints.
    ///
    /// # Errors
    /// The expected form, in words that follow "takes".
    pub fn parse(text: &str, known: &[&str]) -> Result<Self, String> {
        let (point, action) = text.split_once('=').ok_or(
            "FAILPOINT=abort or FAILPOINT=stall:MILLISECONDS, with @N for the Nth time only",
        )?;
        let (action, hit) = action.split_once('@').unwrap_or((action, "1"));
        let action = match action.split_once(':') {
            None if action == "abort" => Action::Abort,
            Some(("stall", ms)) => Action::Stall(Duration::from_millis(
                ms.parse().map_err(|_| "stall:MILLISECONDS")?,
            )),
            _ => return Err("abort or stall:MILLISECONDS".to_owned()),
        };
        if !known.contains(&point) {
            return Err(format!("one of {}", known.join(", ")));
        }
        Ok(Self {
            point: point.to_owned(),
            action,
            hit: hit.parse().map_err(|_| "@N, where N is a whole number")?,
        })
    }
}

struct Armed {
    plan: Plan,
    hits: AtomicU32,
}

static ARMED: OnceLock<Armed> = OnceLock::new();

/// Arms a failpoint for the life of the process.
pub fn arm(plan: Plan) {
    // Fails only when called a second time.
    let _ = ARMED.set(Armed {
        plan,
        hits: AtomicU32::new(0),
    });
}

/// Aborts or stalls the process if this failpoint is armed.
pub async fn point(name: &'static str) {
    if let Some(armed) = ARMED.get() {
        armed.reach(name).await;
    }
}

impl Armed {
    async fn reach(&self, name: &'static str) {
        if self.plan.point != name {
            return;
        }
        let hit = self.hits.fetch_add(1, Ordering::Relaxed) + 1;
        if self.plan.hit != 0 && self.plan.hit != hit {
            return;
        }
        tracing::error!(point = name, "failpoint reached");
        match self.plan.action {
            Action::Abort => std::process::abort(),
            Action::Stall(duration) => tokio::time::sleep(duration).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["order.placed"];

    #[test]
    fn a_plan_is_parsed_completely_or_rejected() {
        let plan = Plan::parse("order.placed=stall:30@2", KNOWN).unwrap();
        assert_eq!(
            (plan.hit, plan.action),
            (2, Action::Stall(Duration::from_millis(30)))
        );
        assert_eq!(Plan::parse("order.placed=abort", KNOWN).unwrap().hit, 1);
        for invalid in [
            "",
            "order.placed",
            "nowhere=abort",
            "order.placed=stall",
            "order.placed=abort@x",
        ] {
            assert!(Plan::parse(invalid, KNOWN).is_err(), "{invalid}");
        }
    }
}
