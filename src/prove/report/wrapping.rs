//! Text in lines of a limited width.

use std::fmt;

/// Columns of a printed report.
pub const WIDTH: usize = 100;

/// Writes pieces of text with spaces between them, in lines of at most [`WIDTH`] columns. The first
/// line starts with the title, all others with `indent` spaces. A piece is never split.
pub fn write_wrapped(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    indent: usize,
    pieces: &[String],
) -> fmt::Result {
    let mut column = title.chars().count();
    write!(f, "{title}")?;
    for (number, piece) in pieces.iter().enumerate() {
        let length = piece.chars().count();
        if number > 0 && column + 1 + length > WIDTH {
            write!(f, "\n{:indent$}{piece}", "")?;
            column = indent + length;
        } else {
            let space = if number > 0 { " " } else { "" };
            write!(f, "{space}{piece}")?;
            column += space.len() + length;
        }
    }
    Ok(())
}

pub fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}
