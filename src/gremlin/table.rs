//! The state of the gremlin as a table.

use super::status::{ListedRule, Status};
use crate::platform::fault_injection::rule_view::RuleView;
use crate::platform::fault_injection::spec::{Direction, Fault, RuleSpec, Trigger};
use crate::platform::text_table::{self, Align};

const HEAD: [&str; 7] = [
    "SERVICE",
    "RULE",
    "DOES",
    "TO",
    "WHEN",
    "MATCHED/FIRED",
    "LEFT",
];

/// A line for each rule and for each latency switch that is on.
#[must_use]
pub fn table(statuses: &[Status]) -> String {
    let mut rows = vec![HEAD.map(str::to_owned)];
    for status in statuses {
        rows.extend(rows_of(status));
    }
    let mut text = text_table::lines(&rows, [Align::Left; 7]).join("\n");
    text.push('\n');
    text
}

fn rows_of(status: &Status) -> Vec<[String; 7]> {
    let mut rows = Vec::new();
    if status.latency.enabled {
        let does = format!("latency {} ms", status.latency.delay_ms);
        rows.push(["", "switch", &does, "everything", "always", "", ""].map(str::to_owned));
    }
    rows.extend(status.rules.iter().map(|rule| match rule {
        ListedRule::Known(rule) => row_of(rule),
        ListedRule::Unrecognized(rule) => row_of_unrecognized(rule),
    }));
    if rows.is_empty() {
        rows.push(["", "-", "nothing", "", "", "", ""].map(str::to_owned));
    }
    rows[0][0].clone_from(&status.service);
    rows
}

fn row_of(rule: &RuleView) -> [String; 7] {
    let left = match (rule.active, rule.remaining_seconds, rule.remaining_fires) {
        (false, ..) => "ended".to_owned(),
        (true, None, None) => "until removed".to_owned(),
        (true, seconds, fires) => {
            let seconds = seconds.map(|seconds| format!("{seconds:.0} s"));
            let fires = fires.map(|fires| format!("{fires} times"));
            [seconds, fires]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(", ")
        }
    };
    let counts = format!("{}/{}", rule.matched, rule.fired);
    [
        String::new(),
        rule.id.to_string(),
        does(&rule.spec),
        target(&rule.spec),
        when(&rule.spec),
        counts,
        left,
    ]
}

fn row_of_unrecognized(rule: &serde_json::Map<String, serde_json::Value>) -> [String; 7] {
    let field = |name| {
        rule.get(name).map(|value| {
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned)
        })
    };
    let [id, kind] = ["id", "kind"].map(|name| field(name).unwrap_or_else(|| "?".to_owned()));
    ["", &id, &kind, "(unknown to this version)", "", "", ""].map(str::to_owned)
}

fn does(spec: &RuleSpec) -> String {
    match spec.fault {
        Fault::Latency {
            delay_ms,
            jitter_ms: Some(jitter_ms),
        } => format!("latency {delay_ms} ± {jitter_ms} ms"),
        Fault::Latency { delay_ms, .. } => format!("latency {delay_ms} ms"),
        Fault::Error { status } => format!("error {}", status.as_u16()),
        other => other.kind().to_string(),
    }
}

fn target(spec: &RuleSpec) -> String {
    let target = &spec.target;
    let calls = (target.direction == Direction::Outbound).then(|| match &target.dependency {
        Some(dependency) => format!("calls to {dependency}"),
        None => "calls".to_owned(),
    });
    let product = target
        .product_id
        .as_ref()
        .map(|product| format!("product {product}"));
    let parts = [calls, target.method.clone(), target.route.clone(), product];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    if parts.is_empty() {
        "everything".to_owned()
    } else {
        parts.join(" ")
    }
}

fn when(spec: &RuleSpec) -> String {
    match spec.trigger {
        Trigger::Always | Trigger::Every { every: 1, .. } => "always".to_owned(),
        Trigger::Probability(probability) => {
            let percent = (probability * 1000.0).round() / 10.0;
            format!("{percent} % (seed {})", spec.seed.unwrap_or_default())
        }
        Trigger::Every {
            every,
            offset: Some(offset),
        } if offset > 0 => format!("one in {every}, from number {offset}"),
        Trigger::Every { every, .. } => format!("one in {every}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::fault_injection::Latency;

    #[test]
    fn a_rule_of_an_unknown_kind_is_listed_beside_the_others() {
        let rules = r#"[
            {"id": 1, "kind": "error", "status": 500, "active": true, "matched": 0, "fired": 0,
             "remaining_seconds": null, "remaining_fires": null},
            {"id": 2, "kind": "something-newer", "active": true}]"#;
        let rules: Vec<ListedRule> = serde_json::from_str(rules).unwrap();
        let latency = Latency {
            enabled: false,
            delay_ms: 0,
        };
        let table = table(&[Status {
            service: "payment".to_owned(),
            url: String::new(),
            latency,
            rules,
        }]);
        assert!(
            table.contains("error 500") && table.contains("something-newer"),
            "{table}"
        );
    }
}
