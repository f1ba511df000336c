//! The property that each of this project's parsers must have on any input. `tests/parsers` and
//! `fuzz/` share this file.

use valerix::cli::otlp_endpoint;
use valerix::order::{Cursor, idempotency};
use valerix::platform::client::BaseUrl;
use valerix::platform::fault_injection::json::RuleJson;
use valerix::platform::fault_injection::spec::RuleSpec;
use valerix::platform::http::extract::read_json;

/// The quoted form of an idempotency key.
pub fn quoted(key: &str) -> String {
    format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""))
}

/// An accepted idempotency key has 1 to 255 printable characters and a quoted form.
pub fn check_key(value: &[u8]) {
    if let Ok(key) = idempotency::parse(value) {
        assert!(
            (1..=255).contains(&key.len()) && key.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
            "{key:?}"
        );
        assert_eq!(idempotency::parse(quoted(&key).as_bytes()), Ok(key));
    }
}

/// An accepted cursor has only one text form.
pub fn check_cursor(text: &str) {
    if let Ok(cursor) = text.parse::<Cursor>() {
        assert_eq!(cursor.to_string(), text);
    }
}

/// An accepted gremlin rule equals the rule that its JSON form parses to.
pub fn check_rule(body: &[u8]) {
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

/// An accepted OTLP endpoint is a valid URL, which parses to itself.
pub fn check_endpoint(text: &str) {
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
