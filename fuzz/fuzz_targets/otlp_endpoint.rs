#![no_main]

#[path = "../../tests/parsers/properties.rs"]
#[allow(dead_code, reason = "each target checks one property")]
mod properties;

libfuzzer_sys::fuzz_target!(|input: &str| { properties::check_endpoint(input) });
