//! The parsers that are ours, on whatever may come: none panics, and what one takes is what its own
//! text form says. The same properties are in `fuzz/`, for longer runs that learn from coverage.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by failing"
)]

mod properties;

use properties::{
    a_cursor_is_written_in_one_way, a_key_has_a_quoted_form, a_rule_is_taken_again_as_it_is_shown,
    an_endpoint_is_an_address_that_stays_as_it_is, quoted,
};
use proptest::prelude::*;
use serde_json::Value;
use valerix::order::idempotency;

/// Values that some field of a rule takes, the kinds first.
const TEXTS: &[&str] = &[
    "latency", "error", "drop", "crash", "outbound", "inbound", "/orders", "/livez", "POST", "x\0",
];

/// What is nearly right reaches further into a parser than noise does.
fn nearly(pieces: &'static [&'static str]) -> impl Strategy<Value = String> {
    let piece = prop_oneof![4 => proptest::sample::select(pieces).prop_map(str::to_owned), 1 => any::<String>()];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// A value for each field of a rule, or something else.
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
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes: Vec<u8>) {
        a_key_has_a_quoted_form(&bytes);
        a_rule_is_taken_again_as_it_is_shown(&bytes);
        let text = String::from_utf8_lossy(&bytes);
        a_cursor_is_written_in_one_way(&text);
        an_endpoint_is_an_address_that_stays_as_it_is(&text);
    }

    #[test]
    fn keys(text in nearly(&["\"", "\\", " ", "key", "\t", "\u{7f}", "ü", "0123456789"])) {
        a_key_has_a_quoted_form(text.as_bytes());
    }

    #[test]
    fn every_key_can_be_quoted(key in "[ -~]{1,255}") {
        prop_assert_eq!(idempotency::parse(quoted(&key).as_bytes()), Ok(key));
    }

    #[test]
    fn cursors(text in nearly(&["-", "0", "1700000000123456", "9223372036854775807", "00000000000000000000000000000000", "{", "}", "f", "F", "+"])) {
        a_cursor_is_written_in_one_way(&text);
    }

    #[test]
    fn rules(rule in rule()) {
        a_rule_is_taken_again_as_it_is_shown(rule.to_string().as_bytes());
    }

    #[test]
    fn endpoints(text in nearly(&["http", "Http", "https", "://", ":", "/", "@", "[::1]", "collector", "4317", "?", "#", "%", " ", "99999"])) {
        an_endpoint_is_an_address_that_stays_as_it_is(&text);
    }
}

/// Found by `rules`: such a share once changed in its last digit.
#[test]
fn a_share_is_read_to_its_last_digit() {
    a_rule_is_taken_again_as_it_is_shown(
        br#"{"kind": "latency", "probability": 5.564424755896533e-280}"#,
    );
}
