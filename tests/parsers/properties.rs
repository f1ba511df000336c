//! What holds for each parser that is ours, whatever it is given: here for tests/parsers and fuzz/
//! alike.

use valerix::cli::otlp_endpoint;
use valerix::order::{Cursor, idempotency};
use valerix::platform::client::BaseUrl;
use valerix::platform::fault_injection::json::RuleJson;
use valerix::platform::fault_injection::spec::RuleSpec;
use valerix::platform::http::extract::read_json;

pub fn quoted(key: &str) -> String {
    format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""))
}

pub fn a_key_has_a_quoted_form(value: &[u8]) {
    if let Ok(key) = idempotency::parse(value) {
        assert!(
            (1..=255).contains(&key.len()) && key.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
            "{key:?}"
        );
        assert_eq!(idempotency::parse(quoted(&key).as_bytes()), Ok(key));
    }
}

pub fn a_cursor_is_written_in_one_way(text: &str) {
    if let Ok(cursor) = text.parse::<Cursor>() {
        assert_eq!(cursor.to_string(), text);
    }
}

pub fn a_rule_is_taken_again_as_it_is_shown(body: &[u8]) {
    if let Ok(spec) = read_json::<RuleSpec>(body) {
        let shown = serde_json::to_vec(&spec).unwrap();
        assert_eq!(read_json::<RuleSpec>(&shown).unwrap(), spec);
        let json = RuleJson::from(spec.clone());
        assert!(
            json.delay_ms.unwrap_or_default() + json.jitter_ms.unwrap_or_default() <= 60_000,
            "{spec:?}"
        );
    }
}

pub fn an_endpoint_is_an_address_that_stays_as_it_is(text: &str) {
    if let Ok(endpoint) = otlp_endpoint(text)
        && let Some(address) = endpoint.0
    {
        let plain = address.replacen("https://", "http://", 1);
        assert!(
            plain.starts_with("http://") && plain.parse::<BaseUrl>().is_ok(),
            "{text:?}: {address}"
        );
        assert_eq!(otlp_endpoint(&address).unwrap().0, Some(address));
    }
}
