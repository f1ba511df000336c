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

/// Returns the text with its control characters escaped. A terminal would obey them, and a line
/// break would make two lines of one.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            printable.extend(character.escape_default());
        } else {
            printable.push(character);
        }
    }
    printable
}

/// Breaks a text between its words into lines of at most `width` columns.
#[must_use]
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
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
