//! Readers of single values. Each checks the type and the range of a value.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde_json::Value;
use uuid::Uuid;

use super::fields::Expected;

/// Reads text whose length in characters is in the range. Text with NUL is rejected, because
/// PostgreSQL cannot store it.
pub fn text(characters: RangeInclusive<usize>) -> impl FnOnce(&Value) -> Result<String, Expected> {
    move |value| {
        let fits = |text: &&str| characters.contains(&text.chars().count()) && !text.contains('\0');
        value
            .as_str()
            .filter(fits)
            .map(str::to_owned)
            .ok_or_else(|| {
                format!(
                    "text of {} to {} characters, without NUL",
                    characters.start(),
                    characters.end()
                )
            })
    }
}

/// A number type that can be converted from an `i64`.
pub trait Integer: Copy + PartialOrd + fmt::Display + TryFrom<i64> {}

impl<T: Copy + PartialOrd + fmt::Display + TryFrom<i64>> Integer for T {}

/// Reads a whole number in a range.
pub fn integer<T: Integer>(range: RangeInclusive<T>) -> impl FnOnce(&Value) -> Result<T, Expected> {
    move |value| {
        // In JSON, 1 and 1.0 are the same number.
        let number = value.as_f64().filter(|number| number.fract() == 0.0);
        in_range(number.and_then(whole_i64), &range)
    }
}

/// Reads a whole number in a range from its decimal digits, for queries.
pub fn query_integer<T: Integer>(
    range: RangeInclusive<T>,
) -> impl FnOnce(&Value) -> Result<T, Expected> {
    move |value| {
        let number = value.as_str().and_then(|digits| digits.parse().ok());
        in_range(number, &range)
    }
}

fn in_range<T: Integer>(number: Option<i64>, range: &RangeInclusive<T>) -> Result<T, Expected> {
    let number = number.and_then(|number| T::try_from(number).ok());
    number
        .filter(|number| range.contains(number))
        .ok_or_else(|| format!("a whole number from {} to {}", range.start(), range.end()))
}

fn whole_i64(number: f64) -> Option<i64> {
    // A 64-bit float represents every whole number up to this one exactly.
    const MAX_EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the number is whole and fits in an i64"
    )]
    (number.abs() <= MAX_EXACT).then_some(number as i64)
}

/// Reads a number from 0 to 1.
pub fn fraction(value: &Value) -> Result<f64, Expected> {
    let fraction = value
        .as_f64()
        .filter(|fraction| (0.0..=1.0).contains(fraction));
    fraction.ok_or_else(|| "a number from 0 to 1".to_owned())
}

pub fn boolean(value: &Value) -> Result<bool, Expected> {
    value.as_bool().ok_or_else(|| "true or false".to_owned())
}

/// Reads `true` or `false` from text, for queries.
pub fn query_boolean(value: &Value) -> Result<bool, Expected> {
    value
        .as_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| "true or false".to_owned())
}

/// Reads a time in RFC 3339.
pub fn timestamp(value: &Value) -> Result<DateTime<Utc>, Expected> {
    let time = value
        .as_str()
        .and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    time.map(Into::into)
        .ok_or_else(|| "a time such as 2026-01-31T12:00:00Z (RFC 3339)".to_owned())
}

/// Reads a UUID other than the nil UUID.
pub fn uuid(value: &Value) -> Result<Uuid, Expected> {
    value
        .as_str()
        .and_then(|text| Uuid::try_parse(text).ok())
        .filter(|id| !id.is_nil())
        .ok_or_else(|| "a UUID".to_owned())
}

/// Reads a list of at most `max` UUIDs.
pub fn uuids(max: usize) -> impl FnOnce(&Value) -> Result<Vec<Uuid>, Expected> {
    move |value| {
        let list = value.as_array().filter(|list| list.len() <= max);
        let ids = list.and_then(|list| list.iter().map(|id| uuid(id).ok()).collect());
        ids.ok_or_else(|| format!("a list of at most {max} UUIDs"))
    }
}

/// Reads an amount of money from 0.01 to 99999999.99 with at most two decimals.
pub fn amount(value: &Value) -> Result<Decimal, Expected> {
    let max = Decimal::new(9_999_999_999, 2);
    value
        .as_number()
        // Parsed from the decimal text instead of a binary float, so that 99.99 is exact.
        .and_then(|number| Decimal::from_str(&number.to_string()).ok())
        .filter(|amount| {
            amount.normalize().scale() <= 2 && *amount > Decimal::ZERO && *amount <= max
        })
        .ok_or_else(|| format!("an amount from 0.01 to {max} with at most two decimals"))
}

/// Reads a variant of an enum from its name.
pub fn name<T: FromStr>(value: &Value) -> Result<T, Expected>
where
    T::Err: fmt::Display,
{
    let text = value.as_str().ok_or_else(|| "text".to_owned())?;
    text.parse()
        .map_err(|error: T::Err| format!("a known name: {error}"))
}
