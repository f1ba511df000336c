//! Paths as parts of a setting and of a shell command.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// A path as one element of a list setting, in which an unquoted comma separates two elements.
pub fn list_element(path: &Path) -> OsString {
    quoted(path, b'"', b"\"\"")
}

/// A path as one word of a shell command.
#[must_use]
pub fn shell_word(path: &Path) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-".contains(byte);
    if path.as_os_str().as_bytes().iter().all(is_plain) {
        return path.display().to_string();
    }
    quoted(path, b'\'', b"'\\''").to_string_lossy().into_owned()
}

fn quoted(path: &Path, quote: u8, escaped_quote: &[u8]) -> OsString {
    let mut quoted = vec![quote];
    for byte in path.as_os_str().as_bytes() {
        if *byte == quote {
            quoted.extend(escaped_quote);
        } else {
            quoted.push(*byte);
        }
    }
    quoted.push(quote);
    OsString::from_vec(quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_in_a_path_are_escaped() {
        let odd = Path::new("/a,b/it's \"c\"");
        assert_eq!(list_element(odd), "\"/a,b/it's \"\"c\"\"\"");
        assert_eq!(shell_word(odd), r#"'/a,b/it'\''s "c"'"#);
    }

    #[test]
    fn a_plain_path_is_a_shell_word_without_quotes() {
        assert_eq!(
            shell_word(Path::new("/tmp/valerix-1.x")),
            "/tmp/valerix-1.x"
        );
    }
}
