//! Parsers of numbers and of paths. An error says what the value takes, in words that follow "it
//! takes".

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Arg, Command};

use super::error::Takes;
use super::parsers::in_range;

/// A parser of numbers in a range. The unit is in the plural, as in "whole seconds".
pub fn within<T>(
    range: RangeInclusive<T>,
    unit: &'static str,
) -> impl Fn(&str) -> Result<T, Takes> + Clone + Send + Sync
where
    T: FromStr + PartialOrd + Display + Clone + Send + Sync,
{
    move |text| in_range(text, &range, unit)
}

/// Orders per second.
pub fn rate(text: &str) -> Result<u32, Takes> {
    in_range(text, &(1..=100_000), "whole orders per second")
}

/// A whole number whose range the service checks.
pub fn whole_number(text: &str) -> Result<i64, Takes> {
    text.parse().map_err(|_| Takes::text("a whole number"))
}

/// A parser of paths. It rejects only an empty text.
pub fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().try_map(|path| {
        if path.is_empty() {
            return Err(Takes::text("a path"));
        }
        Ok(PathBuf::from(path))
    })
}

/// Lets every flag take a negative number, so that its parser can say which numbers it takes. clap
/// would say that it does not know an argument `-1`.
pub fn with_negative_numbers(command: Command) -> Command {
    let takes_numbers = |arg: Arg| {
        let takes_value = arg.get_action().takes_values() && arg.get_long().is_some();
        if takes_value {
            arg.allow_negative_numbers(true)
        } else {
            arg
        }
    };
    command
        .mut_args(takes_numbers)
        .mut_subcommands(with_negative_numbers)
}
