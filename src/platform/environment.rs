//! Reads environment variables. A blank variable counts as not set, and white space at the ends of a
//! value is dropped.

use std::ffi::OsString;

/// Returns the value of a variable. A value that is not UTF-8 is returned unchanged.
#[must_use]
pub fn variable(name: &str) -> Option<OsString> {
    cleaned(std::env::var_os(name)?)
}

fn cleaned(value: OsString) -> Option<OsString> {
    match value.to_str().map(str::trim) {
        Some("") => None,
        Some(text) => Some(text.into()),
        None => Some(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_values_are_not_set_and_white_space_at_the_ends_is_dropped() {
        for (value, read) in [
            ("", None),
            (" \t\r\n", None),
            ("5001", Some("5001")),
            (" a b\r\n", Some("a b")),
        ] {
            assert_eq!(cleaned(value.into()), read.map(OsString::from), "{value:?}");
        }
    }
}
