//! This project's parsers, on any input: none panics, and a parsed value equals what its own text
//! form parses to. `fuzz/` checks the same properties in longer runs, guided by coverage.

#![allow(
    clippy::unwrap_used,
    reason = "a failed unwrap fails its test, which is what it should do"
)]

mod properties;

use properties::{check_cursor, check_endpoint, check_key, check_rule, quoted};
use proptest::prelude::*;
use serde_json::Value;
use valerix::order::idempotency;

/// Values that are valid in some field of a gremlin rule, kinds first.
const TEXTS: &[&str] = &[
    "latency", "error", "drop", "crash", "outbound", "inbound", "/orders", "/livez", "POST", "x\0",
];

/// Text that is nearly valid, which gets further into a parser than random text.
fn nearly_valid(pieces: &'static [&'static str]) -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => proptest::sample::select(pieces).prop_map(str::to_owned),
        1 => any::<String>(),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// A rule as JSON, with a valid or an invalid value in some of its fields.
fn rule() -> impl Strategy<Value = Value> {
    let names = [
        "kind",
        "delay_ms",
        "jitter_ms",
        "status",
        "direction",
        "dependency",
        "route",
        "method",
        "product_id",
    ];
    let more = [
        "probability",
        "seed",
        "every",
        "offset",
        "ttl_seconds",
        "max_fires",
        "typo",
    ];
    let value = prop_oneof![
        proptest::sample::select(TEXTS).prop_map(Value::from),
        (-1..70_000).prop_map(Value::from),
        (400..600).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0.0..=1.0).prop_map(Value::from),
        Just(Value::Null),
    ];
    let names = proptest::sample::select([&names[..], &more].concat());
    let kinds = proptest::sample::select(&TEXTS[..4]);
    (kinds, proptest::collection::hash_map(names, value, 0..4)).prop_map(|(kind, fields)| {
        let fields = fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value));
        Value::Object(
            [("kind".to_owned(), kind.into())]
                .into_iter()
                .chain(fields)
                .collect(),
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_parser_panics_on_random_bytes(bytes: Vec<u8>) {
        check_key(&bytes);
        check_rule(&bytes);
        let text = String::from_utf8_lossy(&bytes);
        check_cursor(&text);
        check_endpoint(&text);
    }

    #[test]
    fn every_accepted_key_has_a_quoted_form(text in nearly_valid(&[
        "\"", "\\", " ", "key", "\t", "\u{7f}", "ü", "0123456789",
    ])) {
        check_key(text.as_bytes());
    }

    #[test]
    fn every_valid_key_is_parsed_from_its_quoted_form(key in "[ -~]{1,255}") {
        prop_assert_eq!(idempotency::parse(quoted(&key).as_bytes()), Ok(key));
    }

    #[test]
    fn every_accepted_cursor_has_one_text_form(text in nearly_valid(&[
        "-", "0", "1700000000123456", "9223372036854775807", "00000000000000000000000000000000",
        "{", "}", "f", "F", "+",
    ])) {
        check_cursor(&text);
    }

    #[test]
    fn every_accepted_rule_equals_its_parsed_json(rule in rule()) {
        check_rule(rule.to_string().as_bytes());
    }

    #[test]
    fn every_accepted_endpoint_is_a_normalized_url(text in nearly_valid(&[
        "http", "Http", "https", "://", ":", "/", "@", "[::1]", "collector", "4317", "?", "#",
        "%", " ", "99999",
    ])) {
        check_endpoint(&text);
    }
}

/// An input that the property test of rules has found: the last digit of this number changed.
#[test]
fn a_probability_is_parsed_with_all_its_digits() {
    check_rule(br#"{"kind": "latency", "probability": 5.564424755896533e-280}"#);
}
