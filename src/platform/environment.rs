//! Reads environment variables. A blank variable counts as not set, and white space around a value
//! is removed.

use std::ffi::OsString;

/// Returns the value of a variable, if it is set. A value that is not UTF-8 is returned unchanged.
#[must_use]
pub fn variable(name: &str) -> Option<OsString> {
    trimmed(std::env::var_os(name)?)
}

fn trimmed(value: OsString) -> Option<OsString> {
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
    fn blank_variables_are_not_set_and_white_space_around_values_is_removed() {
        for (value, read) in [
            ("", None),
            (" \t\r\n", None),
            ("5001", Some("5001")),
            (" a b\r\n", Some("a b")),
        ] {
            assert_eq!(trimmed(value.into()), read.map(OsString::from), "{value:?}");
        }
    }
}
