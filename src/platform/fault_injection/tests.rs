//! Tests of the rules, and their properties for random rules and requests.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::config::Config;
use super::exempt::ExemptRoutes;
use super::gremlin::{AddError, Gremlin};
use super::metrics::GremlinMetrics;
use super::rule::Outcome;
use super::rules::{MAX_RULES, Rules};
use super::spec::{Direction, GremlinKind, RequestView, RuleSpec};
use crate::platform::http::extract::read;
use crate::platform::observability::metrics::Registry;

const RESERVE: RequestView<'static> = RequestView {
    direction: Direction::Inbound,
    dependency: None,
    method: "POST",
    route: "/inventory/reserve",
    path: "/inventory/reserve",
};

fn spec(body: &Value) -> RuleSpec {
    read(body).unwrap_or_else(|fields| panic!("{fields:?} of {body}"))
}

/// Returns for each of the first `requests` requests whether a single rule fires for it.
fn fires_for(rule: &Value, requests: usize) -> Vec<bool> {
    let (mut rules, now) = (Rules::default(), Instant::now());
    rules.add(spec(rule), now).unwrap();
    (0..requests)
        .map(|_| !rules.evaluate(RESERVE, None, now).fired.is_empty())
        .collect()
}

proptest! {
    #[test]
    fn the_same_seed_makes_the_same_choices(seed in 0..i32::MAX, probability in 0.0..=1.0_f64) {
        let rule = json!({"kind": "drop", "probability": probability, "seed": seed});
        prop_assert_eq!(fires_for(&rule, 200), fires_for(&rule, 200));
    }

    #[test]
    fn a_rule_fires_for_the_share_of_requests_that_is_its_probability(
        seed in 0..i32::MAX,
        probability in 0.0..=1.0_f64,
    ) {
        let rule = json!({"kind": "drop", "probability": probability, "seed": seed});
        let fired = fires_for(&rule, 4000).into_iter().filter(|fires| *fires).count();
        let share = f64::from(u32::try_from(fired).unwrap()) / 4000.0;
        // Seven standard deviations of the share of 4,000 requests are below 0.06.
        prop_assert!((share - probability).abs() < 0.06, "{} for {}", share, probability);
    }

    #[test]
    fn a_rule_fires_for_each_nth_request_from_its_offset(
        every in 1..20_usize,
        offset in 0..20_usize,
    ) {
        prop_assume!(offset < every);
        let rule = json!({"kind": "drop", "every": every, "offset": offset});
        for (number, fires) in fires_for(&rule, every * 4).into_iter().enumerate() {
            prop_assert_eq!(fires, (number + 1) % every == offset, "request {}", number + 1);
        }
    }

    #[test]
    fn a_rule_ends_after_max_fires_and_counts_every_match_until_then(
        max in 1..50_u64,
        requests in 0..100_u64,
    ) {
        let (mut rules, now) = (Rules::default(), Instant::now());
        rules.add(spec(&json!({"kind": "hang", "max_fires": max})), now).unwrap();
        for _ in 0..requests {
            rules.evaluate(RESERVE, None, now);
        }
        let view = rules.views(now).remove(0);
        prop_assert_eq!(view.fired, requests.min(max));
        prop_assert_eq!(view.matched, requests.min(max), "a rule that has ended counts nothing");
        prop_assert_eq!(view.active, requests < max);
        prop_assert_eq!(view.remaining_fires, Some(max - view.fired));
    }

    #[test]
    fn a_rule_ends_after_ttl_seconds(ttl in 1..1000_u64, after_ms in 0..2_000_000_u64) {
        let (mut rules, start) = (Rules::default(), Instant::now());
        rules.add(spec(&json!({"kind": "drop", "ttl_seconds": ttl})), start).unwrap();
        let now = start + Duration::from_millis(after_ms);
        let fired = !rules.evaluate(RESERVE, None, now).fired.is_empty();
        prop_assert_eq!(fired, after_ms < ttl * 1000);
        prop_assert_eq!(rules.active(now), usize::from(fired));
        let shown = rules.views(now).len();
        prop_assert_eq!(shown, usize::from(after_ms < (ttl + 60) * 1000));
    }

    #[test]
    fn a_delay_differs_by_at_most_its_jitter(
        delay in 0..50_000_u64,
        jitter in 0..10_000_u64,
        seed in 0..i32::MAX,
    ) {
        let (mut rules, now) = (Rules::default(), Instant::now());
        let rule = json!({"kind": "latency", "delay_ms": delay, "jitter_ms": jitter, "seed": seed});
        rules.add(spec(&rule), now).unwrap();
        for _ in 0..50 {
            let actual = rules.evaluate(RESERVE, None, now).delay;
            prop_assert!(actual >= Duration::from_millis(delay.saturating_sub(jitter)));
            prop_assert!(actual <= Duration::from_millis(delay + jitter));
        }
    }

    #[test]
    fn a_rule_is_rejected_with_its_invalid_fields_or_shown_as_it_is_applied(
        kind in prop::sample::select(vec![
            "latency", "error", "drop", "vanish", "crash", "hang", "flood",
        ]),
        fields in prop::collection::btree_map(
            prop::sample::select(vec![
                "delay_ms", "jitter_ms", "status", "probability", "seed", "every", "offset",
                "ttl_seconds", "max_fires",
            ]),
            prop::sample::select(vec![
                json!(-1), json!(0), json!(1), json!(2), json!(0.5), json!(500), json!(60_001),
                json!("x"), json!(1e12),
            ]),
            0..4,
        ),
    ) {
        let mut body = json!({"kind": kind});
        for (name, value) in &fields {
            body[*name] = value.clone();
        }
        match read::<RuleSpec>(&body) {
            // A rule that is requested as it is shown is the same rule.
            Ok(spec) => {
                let shown = serde_json::to_value(&spec).unwrap();
                prop_assert_eq!(read::<RuleSpec>(&shown), Ok(spec));
            }
            Err(invalid) => prop_assert!(
                invalid.iter().all(|field| ["kind", "jitter_ms"].contains(&field.as_str())
                    || fields.contains_key(field.as_str())),
                "{:?} for {}", invalid, body
            ),
        }
    }
}

#[test]
fn a_rule_fires_only_for_requests_that_match_its_target() {
    let (mut rules, now) = (Rules::default(), Instant::now());
    let rule = json!({"kind": "drop", "route": "/orders/{id}", "method": "GET", "product_id": "A"});
    rules.add(spec(&rule), now).unwrap();
    let matching = RequestView {
        method: "GET",
        route: "/orders/{id}",
        path: "/orders/7",
        ..RESERVE
    };
    let mut fires = |request, product| !rules.evaluate(request, product, now).fired.is_empty();
    assert!(fires(matching, Some("A")));
    assert!(!fires(matching, Some("B")) && !fires(matching, None));
    assert!(!fires(
        RequestView {
            method: "POST",
            ..matching
        },
        Some("A")
    ));
    assert!(!fires(
        RequestView {
            route: "/orders",
            path: "/orders",
            ..matching
        },
        Some("A")
    ));
    assert!(!fires(
        RequestView {
            direction: Direction::Outbound,
            dependency: Some("x"),
            ..matching
        },
        Some("A")
    ));
}

#[test]
fn delays_add_up_and_the_first_other_fault_decides() {
    let (mut rules, now) = (Rules::default(), Instant::now());
    for rule in [
        json!({"kind": "latency", "delay_ms": 40_000}),
        json!({"kind": "error", "status": 503, "every": 2}),
        json!({"kind": "vanish"}),
        json!({"kind": "latency", "delay_ms": 30_000}),
    ] {
        rules.add(spec(&rule), now).unwrap();
    }
    let first = rules.evaluate(RESERVE, None, now);
    assert_eq!(
        (first.outcome, first.delay),
        (Some(Outcome::Vanish), Duration::from_secs(60)),
        "at most 60 s"
    );
    let second = rules.evaluate(RESERVE, None, now);
    assert_eq!(
        second.fired,
        [
            (1, GremlinKind::Latency),
            (2, GremlinKind::Error),
            (4, GremlinKind::Latency)
        ]
    );
    let matched: Vec<_> = rules.views(now).iter().map(|rule| rule.matched).collect();
    assert_eq!(matched, [2, 2, 1, 2]);
}

#[test]
fn the_number_of_rules_is_limited_and_a_new_rule_replaces_an_ended_one() {
    let (mut rules, start) = (Rules::default(), Instant::now());
    rules
        .add(spec(&json!({"kind": "drop", "ttl_seconds": 1})), start)
        .unwrap();
    for _ in 1..MAX_RULES {
        rules.add(spec(&json!({"kind": "drop"})), start).unwrap();
    }
    assert!(rules.add(spec(&json!({"kind": "hang"})), start).is_none());
    assert_eq!(rules.views(start).len(), MAX_RULES);
    let later = start + Duration::from_secs(2);
    let added = rules.add(spec(&json!({"kind": "hang"})), later).unwrap();
    let ids: Vec<_> = rules.views(later).iter().map(|rule| rule.id).collect();
    assert!(
        ids.len() == MAX_RULES && !ids.contains(&1) && ids.contains(&added.id),
        "{ids:?}"
    );
}

#[test]
fn invalid_contradictory_and_unknown_fields_are_named() {
    for (body, field) in [
        (json!({}), "kind"),
        (json!({"kind": "flood"}), "kind"),
        (json!({"kind": "latency", "delay_ms": -1}), "delay_ms"),
        (json!({"kind": "latency", "delay_ms": 60_001}), "delay_ms"),
        (
            json!({"kind": "latency", "delay_ms": 59_000, "jitter_ms": 1_001}),
            "jitter_ms",
        ),
        (json!({"kind": "drop", "delay_ms": 5}), "delay_ms"),
        (json!({"kind": "latency", "status": 500}), "status"),
        (json!({"kind": "error", "status": 200}), "status"),
        (json!({"kind": "drop", "probability": 1.1}), "probability"),
        (
            json!({"kind": "drop", "probability": 0.5, "every": 2}),
            "probability",
        ),
        (json!({"kind": "drop", "every": 0}), "every"),
        (json!({"kind": "drop", "offset": 1}), "offset"),
        (json!({"kind": "drop", "every": 2, "offset": 2}), "offset"),
        (json!({"kind": "drop", "seed": 1}), "seed"),
        (
            json!({"kind": "drop", "dependency": "payment-service"}),
            "dependency",
        ),
        (
            json!({"kind": "drop", "direction": "sideways"}),
            "direction",
        ),
        (json!({"kind": "drop", "route": "orders"}), "route"),
        (json!({"kind": "drop", "method": "BREW"}), "method"),
        (json!({"kind": "drop", "ttl_seconds": 0}), "ttl_seconds"),
        (json!({"kind": "drop", "max_fires": 0}), "max_fires"),
        (json!({"kind": "drop", "probabilty": 0.5}), "probabilty"),
    ] {
        assert_eq!(read::<RuleSpec>(&body).unwrap_err(), [field], "{body}");
    }
}

#[test]
fn a_rule_for_an_exempt_route_is_rejected_unless_it_applies_to_calls() {
    let registry = Registry::new().unwrap();
    let gremlin = Gremlin::new(
        Config {
            enabled: true,
            token: None,
        },
        GremlinMetrics::new(&registry).unwrap(),
        ExemptRoutes::new(&["/services/*"]),
    );
    for route in ["/gremlin/rules", "/metrics", "/services/payment/health"] {
        let spec = read::<RuleSpec>(&json!({"kind": "drop", "route": route})).unwrap();
        assert_eq!(gremlin.add(spec), Err(AddError::ExemptRoute), "{route}");
    }
    let calls = json!({"kind": "drop", "route": "/metrics", "direction": "outbound"});
    let spec = read::<RuleSpec>(&calls).unwrap();
    assert!(gremlin.add(spec).is_ok());
}
