//! Faults that took effect, and internal errors, as the services' JSON log lines show them.

use std::collections::BTreeMap;

use serde_json::Value;

const FAILPOINT_REACHED: &str = "failpoint reached";
const RULE_FIRED: &str = "gremlin fault injected";
/// Marks the log line of a request that failed because of an error in the service itself. Injected
/// errors have another code.
const INTERNAL_ERROR: &str = "internal-error";
const MAX_INTERNAL_ERRORS: usize = 10;

/// A failpoint and a gremlin rule wait for their moment: only the logs show whether it came.
#[derive(Debug, Clone, Default)]
pub struct ObservedFaults {
    /// How often each failpoint aborted or stalled a process.
    pub failpoints: BTreeMap<String, u32>,
    /// How often gremlin rules of each kind fired.
    pub gremlin_rules: BTreeMap<String, u32>,
    /// Log lines of internal errors, at most the first ten.
    pub internal_errors: Vec<String>,
}

impl ObservedFaults {
    /// Counts what a log line reports.
    pub fn observe(&mut self, line: &str) {
        let event = || serde_json::from_str::<Value>(line).unwrap_or_default();
        if line.contains(FAILPOINT_REACHED)
            && let Some(point) = event()["point"].as_str()
        {
            *self.failpoints.entry(point.to_owned()).or_default() += 1;
        } else if line.contains(RULE_FIRED) {
            let event = event();
            // The latency switch is a fault of its own, which takes effect when it is set.
            if let Some(kind) = event["kind"].as_str().filter(|_| event["rule"] != "switch") {
                *self.gremlin_rules.entry(kind.to_owned()).or_default() += 1;
            }
        } else if line.contains(INTERNAL_ERROR) && self.internal_errors.len() < MAX_INTERNAL_ERRORS
        {
            self.internal_errors.push(line.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed(lines: &[&str]) -> ObservedFaults {
        let mut observed = ObservedFaults::default();
        for line in lines {
            observed.observe(line);
        }
        observed
    }

    #[test]
    fn failpoints_and_rules_are_counted_and_the_latency_switch_is_not() {
        let observed = observed(&[
            r#"{"message":"failpoint reached","point":"order.placed"}"#,
            r#"{"message":"failpoint reached","point":"order.placed"}"#,
            r#"{"message":"gremlin fault injected","kind":"drop","rule":"1"}"#,
            r#"{"message":"gremlin fault injected","kind":"latency","rule":"switch"}"#,
            "not JSON: failpoint reached",
        ]);
        assert_eq!(
            observed.failpoints,
            BTreeMap::from([("order.placed".to_owned(), 2)])
        );
        assert_eq!(
            observed.gremlin_rules,
            BTreeMap::from([("drop".to_owned(), 1)])
        );
        assert!(observed.internal_errors.is_empty());
    }

    #[test]
    fn the_first_ten_internal_errors_are_kept() {
        let line = r#"{"code":"internal-error"}"#;
        assert_eq!(
            observed(&[line; 12]).internal_errors,
            [line; MAX_INTERNAL_ERRORS]
        );
    }
}
