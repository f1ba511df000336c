#![no_main]

#[path = "../../tests/parsers/properties.rs"]
#[allow(dead_code, reason = "each target checks one property")]
mod properties;

libfuzzer_sys::fuzz_target!(|input: &str| {
    properties::an_endpoint_is_an_address_that_stays_as_it_is(input)
});
