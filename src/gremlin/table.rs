//! The state of the gremlin as a table.

use super::status::{ListedRule, Status};
use crate::platform::fault_injection::rule_view::RuleView;
use crate::platform::fault_injection::spec::{Direction, Fault, RuleSpec, Trigger};
use crate::platform::output::{printable, wrapped};
use crate::platform::plural::count;
use crate::platform::text_table::{self, Align, cut};

const HEAD: [&str; 5] = ["SERVICE", "RULE", "FAULT", "FIRED", "LEFT"];
const INDENT: &str = "    ";

/// A row of the table, and the requests that the rule is limited to.
struct Row {
    cells: [String; 5],
    limits: String,
}

/// A line for each rule and for each latency switch that is on. The requests that a rule is limited
/// to are on a second line, because a route and a product can be long.
#[must_use]
pub fn table(statuses: &[Status]) -> String {
    let rows: Vec<_> = statuses.iter().flat_map(rows_of).collect();
    let cells = rows.iter().map(|row| row.cells.clone());
    let cells: Vec<_> = std::iter::once(HEAD.map(str::to_owned))
        .chain(cells)
        .collect();
    let mut lines =
        text_table::lines_within(cells, [Align::Left; 5], 0, text_table::WIDTH).into_iter();
    let mut text: Vec<String> = lines.next().into_iter().collect();
    for (row, line) in rows.iter().zip(lines) {
        text.push(line);
        if !row.limits.is_empty() {
            let limits = wrapped(&row.limits, text_table::WIDTH - INDENT.len()).into_iter();
            text.extend(limits.map(|line| format!("{INDENT}{line}")));
        }
    }
    text.join("\n") + "\n"
}

fn rows_of(status: &Status) -> Vec<Row> {
    let plain = |cells: [&str; 5]| Row {
        cells: cells.map(str::to_owned),
        limits: String::new(),
    };
    let mut rows = Vec::new();
    if status.latency.enabled {
        let fault = format!("latency {} ms", status.latency.delay_ms);
        rows.push(plain(["", "switch", &fault, "always", "until removed"]));
    }
    rows.extend(status.rules.iter().map(|rule| match rule {
        ListedRule::Known(rule) => row_of(rule),
        ListedRule::Unrecognized(rule) => row_of_unrecognized(rule),
    }));
    if rows.is_empty() {
        rows.push(plain(["", "-", "none", "", ""]));
    }
    rows[0].cells[0] = printable(&status.service);
    rows
}

fn row_of(rule: &RuleView) -> Row {
    let left = match (rule.active, rule.remaining_seconds, rule.remaining_fires) {
        (false, ..) => "ended".to_owned(),
        (true, None, None) => "until removed".to_owned(),
        (true, seconds, fires) => {
            let seconds = seconds.map(|seconds| format!("{seconds:.0} s"));
            let fires = fires.map(|fires| count(fires, "time"));
            [seconds, fires]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(", ")
        }
    };
    let fired = format!("{} of {}", rule.fired, rule.matched);
    Row {
        cells: [
            String::new(),
            rule.id.to_string(),
            fault(&rule.spec),
            fired,
            left,
        ],
        limits: printable(&limits(&rule.spec)),
    }
}

fn row_of_unrecognized(rule: &serde_json::Map<String, serde_json::Value>) -> Row {
    let field = |name| {
        rule.get(name).map(|value| {
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned)
        })
    };
    let cell = |name| field(name).map_or_else(|| "?".to_owned(), |text| cut(&printable(&text), 24));
    Row {
        cells: [
            String::new(),
            cell("id"),
            cell("kind"),
            "?".to_owned(),
            "?".to_owned(),
        ],
        limits: "this version does not know the kind".to_owned(),
    }
}

fn fault(spec: &RuleSpec) -> String {
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

/// The requests for which the rule fires; empty if it fires for all.
fn limits(spec: &RuleSpec) -> String {
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
    let requests = (!parts.is_empty()).then(|| format!("only {}", parts.join(" ")));
    let facts = [requests, when(spec)].into_iter().flatten();
    facts.collect::<Vec<_>>().join(", ")
}

fn when(spec: &RuleSpec) -> Option<String> {
    match spec.trigger {
        Trigger::Always | Trigger::Every { every: 1, .. } => None,
        Trigger::Probability(probability) => {
            let percent = (probability * 1000.0).round() / 10.0;
            let seed = spec.seed.unwrap_or_default();
            Some(format!("with a probability of {percent} % (seed {seed})"))
        }
        Trigger::Every {
            every,
            offset: Some(offset),
        } if offset > 0 => Some(format!("one in {every}, from number {offset}")),
        Trigger::Every { every, .. } => Some(format!("one in {every}")),
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

    #[test]
    fn the_requests_that_a_rule_is_limited_to_are_below_it_within_80_columns() {
        let product = format!("\\u001b[2J{}", "x".repeat(200));
        let rules = format!(
            r#"[{{"id": 7, "kind": "latency", "delay_ms": 60000, "jitter_ms": 60000,
             "direction": "outbound", "dependency": "payment-service", "route": "/payments",
             "method": "POST", "product_id": "{product}", "every": 2, "active": true,
             "matched": 9, "fired": 4, "remaining_seconds": 96.4, "remaining_fires": 3}},
             {{"id": 8, "kind": "drop", "active": true, "matched": 0, "fired": 0,
             "remaining_seconds": null, "remaining_fires": null}}]"#
        );
        let table = table(&[Status {
            service: "inventory-service".to_owned(),
            url: String::new(),
            latency: Latency {
                enabled: true,
                delay_ms: 3000,
            },
            rules: serde_json::from_str(&rules).unwrap(),
        }]);
        let lines: Vec<_> = table.lines().collect();
        for line in &lines {
            assert!(line.chars().count() <= 80, "{line}");
            assert!(!line.contains(char::is_control), "{line:?}");
        }
        assert!(
            lines[1].starts_with("inventory-service  switch  latency 3000 ms"),
            "{table}"
        );
        assert!(lines[2].ends_with("4 of 9  96 s, 3 times"), "{table}");
        let limits = "    only calls to payment-service POST /payments product";
        assert!(lines[3].starts_with(limits), "{table}");
        assert!(table.contains(", one in 2\n"), "{table}");
        assert!(
            lines[lines.len() - 1].ends_with("0 of 0  until removed"),
            "{table}"
        );
    }
}
