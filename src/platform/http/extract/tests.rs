use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::*;

#[derive(Debug)]
struct Sample {
    name: String,
    count: i32,
    price: Option<Decimal>,
}

impl FromFields for Sample {
    fn from_fields(fields: &mut Fields) -> Self {
        Self {
            name: fields.required("name", text(1..=3)),
            count: fields.required("count", integer(1..=10)),
            price: fields.optional("price", amount),
        }
    }
}

fn read(body: &Value) -> Result<Sample, Vec<String>> {
    super::read(body)
}

#[test]
fn every_invalid_field_is_named_once() {
    let invalid = read(&json!({"name": "", "price": 1.005})).unwrap_err();
    assert_eq!(invalid, ["name", "count", "price"]);
}

#[test]
fn text_is_limited_in_characters_and_integers_are_limited_in_range() {
    assert_eq!(
        read(&json!({"name": "äöü", "count": 10})).unwrap().name,
        "äöü"
    );
    assert!(read(&json!({"name": "abcd", "count": 1})).is_err());
    assert!(read(&json!({"name": "a\u{0}", "count": 1})).is_err());
    for count in [
        json!(0),
        json!(11),
        json!(1.5),
        json!(1e30),
        json!(true),
        json!("5"),
        json!(null),
    ] {
        assert_eq!(
            read(&json!({"name": "a", "count": count})).unwrap_err(),
            ["count"],
            "{count}"
        );
    }
    assert_eq!(read(&json!({"name": "a", "count": 1.0})).unwrap().count, 1);
}

#[test]
fn amounts_are_exact_to_the_cent() {
    let price =
        |value| read(&json!({"name": "a", "count": 1, "price": value})).map(|sample| sample.price);
    assert_eq!(price(json!(99.99)).unwrap(), Some(Decimal::new(9999, 2)));
    assert_eq!(price(json!(5)).unwrap(), Some(Decimal::new(5, 0)));
    assert_eq!(
        price(json!(99_999_999.99)).unwrap(),
        Some(Decimal::new(9_999_999_999, 2))
    );
    for invalid in [
        json!(0),
        json!(-1),
        json!(0.001),
        json!(100_000_000),
        json!("1.00"),
    ] {
        assert!(price(invalid.clone()).is_err(), "{invalid}");
    }
}
