//! Prints the output of commands. `println!` panics when its text cannot be written, and a panic
//! would leave child processes behind. This module asks the process to stop instead.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, TrySendError};
use std::time::Duration;

use super::environment::variable;
use super::shutdown::{self, Cause};

/// Writes a line to standard output.
pub fn print_line(text: impl Display) {
    print(format_args!("{text}\n"));
}

/// Writes text to standard output. If it is a pipe that the reader has closed, the process stops
/// without a message.
///
/// A separate thread writes, because a write blocks while the reader does not read. The process
/// must still be able to stop and clean up.
pub fn print(text: impl Display) {
    let (sender, written) = mpsc::channel();
    let mut unsent = Some((text.to_string(), sender));
    let mut remaining = WRITE_TIMEOUT;
    while !(shutdown::cause().is_some() && IS_ABANDONED.load(Ordering::Relaxed)) {
        if let Some(text) = unsent.take()
            && let Err(TrySendError::Full(text)) = WRITER.try_send(text)
        {
            unsent = Some(text);
        }
        // The text was written, or the writer thread has ended.
        if !matches!(
            written.recv_timeout(POLL_INTERVAL),
            Err(RecvTimeoutError::Timeout)
        ) {
            return;
        }
        if shutdown::cause().is_some() {
            remaining = remaining.saturating_sub(POLL_INTERVAL);
            IS_ABANDONED.fetch_or(remaining.is_zero(), Ordering::Relaxed);
        }
    }
}

/// A text, and where the writer reports that it was written.
type Text = (String, mpsc::Sender<()>);

const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How long a write may take after a request to stop. After that, all writes are abandoned.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);
/// Upper bound on the texts that wait to be written. Each caller waits for its own, so there are
/// few.
const MAX_QUEUED_TEXTS: usize = 16;

/// Writes are abandoned.
static IS_ABANDONED: AtomicBool = AtomicBool::new(false);
static WRITER: LazyLock<mpsc::SyncSender<Text>> = LazyLock::new(|| {
    let (sender, texts) = mpsc::sync_channel(MAX_QUEUED_TEXTS);
    std::thread::spawn(move || texts.iter().for_each(write));
    sender
});

fn write((text, sender): Text) {
    let outcome = {
        let mut stdout = io::stdout().lock();
        stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
    };
    if let Err(error) = outcome {
        let is_closed = error.kind() == io::ErrorKind::BrokenPipe;
        let cause = if is_closed {
            Cause::OutputClosed
        } else {
            Cause::OutputFailed
        };
        if shutdown::request(cause) && !is_closed {
            print_error(format_args!("cannot write to standard output: {error}"));
        }
    }
    // Fails if the caller no longer waits, after a request to stop.
    let _ = sender.send(());
}

/// Writes a line to standard error, after the name of the program. A failed write is ignored.
pub fn print_error(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "valerix: {text}");
}

/// Writes a line about the progress of a command to standard error. A failed write is ignored.
pub fn print_progress(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Returns the text with its control and format characters escaped. A terminal would obey them: a
/// line break makes two lines of one, and an override of the direction shows a text backwards.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || is_format_character(character) {
            printable.extend(character.escape_default());
        } else {
            printable.push(character);
        }
    }
    printable
}

/// Whether the character is not visible itself, and changes how a terminal shows its neighbours:
/// marks and overrides of the direction, characters without width, separators of lines, and tags.
const fn is_format_character(character: char) -> bool {
    matches!(
        character,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

/// Breaks a text into lines of at most `width` columns: between its words, and within a word that
/// is longer than a line.
#[must_use]
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    wrapped_pieces(text.split(' '), width)
}

/// Joins pieces of text with spaces, in lines of at most `width` columns. A piece that fits a line
/// is not split.
#[must_use]
pub fn wrapped_pieces<'a>(pieces: impl IntoIterator<Item = &'a str>, width: usize) -> Vec<String> {
    let (mut lines, mut line) = (Vec::new(), String::new());
    let mut room = width;
    for piece in pieces {
        if !line.is_empty() && piece.chars().count() < room {
            line.push(' ');
            room -= 1;
        } else if !line.is_empty() {
            lines.push(std::mem::take(&mut line));
            room = width;
        }
        for character in piece.chars() {
            if room == 0 {
                lines.push(std::mem::take(&mut line));
                room = width.max(1);
            }
            line.push(character);
            room -= 1;
        }
    }
    lines.push(line);
    lines
}

/// Whether to use colours on a stream: it is a terminal, `TERM` is not `dumb`, and `NO_COLOR` is
/// not set.
#[must_use]
pub fn supports_colours(stream: &impl IsTerminal) -> bool {
    is_capable_terminal(stream) && variable("NO_COLOR").is_none()
}

/// Whether standard error can show a progress bar: it is a terminal, and `TERM` is not `dumb`.
#[must_use]
pub fn supports_progress_bar() -> bool {
    is_capable_terminal(&io::stderr())
}

fn is_capable_terminal(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && variable("TERM").is_none_or(|terminal| terminal != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_a_terminal_obeys_are_escaped_and_others_are_not() {
        for visible in ["PROD-001", "Größe 4 – 日本", "🦀"] {
            assert_eq!(printable(visible), visible);
        }
        for (text, escaped) in [
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("a\nb\tc\r", "a\\nb\\tc\\r"),
            ("\u{9b}2J", "\\u{9b}2J"),
            ("a\u{202e}b", "a\\u{202e}b"),
            ("a\u{2066}b\u{2069}", "a\\u{2066}b\\u{2069}"),
            ("a\u{200b}\u{200d}b", "a\\u{200b}\\u{200d}b"),
            ("\u{feff}a\u{2028}b", "\\u{feff}a\\u{2028}b"),
            ("a\u{e0041}", "a\\u{e0041}"),
        ] {
            assert_eq!(printable(text), escaped);
        }
    }

    #[test]
    fn a_text_is_broken_between_words_and_a_long_word_within() {
        for (text, width, lines) in [
            ("", 5, &[""][..]),
            ("one two three", 20, &["one two three"]),
            ("one two three", 7, &["one two", "three"]),
            ("one two three", 6, &["one", "two", "three"]),
            ("abcdefgh", 3, &["abc", "def", "gh"]),
            ("a bcdefgh i", 4, &["a", "bcde", "fgh", "i"]),
            ("ü ñ", 1, &["ü", "ñ"]),
        ] {
            assert_eq!(wrapped(text, width), lines, "{text:?} in {width}");
        }
    }
}
