//! Prints for commands. `println!` panics when its text cannot be written, and a panic would leave
//! started processes behind. This module asks the process to stop instead.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, TrySendError};
use std::time::Duration;

use super::environment::variable;
use super::shutdown::{self, Cause};

/// Writes a line to standard output.
pub fn line(text: impl Display) {
    print(format_args!("{text}\n"));
}

/// Writes text to standard output as it is. A closed pipe stops the program without a message.
///
/// A thread of its own writes, because a reader that does not read blocks the write. The program must
/// still be able to stop and clean up.
pub fn print(text: impl Display) {
    let (done, written) = mpsc::channel();
    let mut waiting = Some((text.to_string(), done));
    let mut remaining = STUCK_TIMEOUT;
    while !(shutdown::cause().is_some() && IS_STUCK.load(Ordering::Relaxed)) {
        if let Some(text) = waiting.take()
            && let Err(TrySendError::Full(text)) = WRITER.try_send(text)
        {
            waiting = Some(text);
        }
        // The text was written, or the writer has ended.
        if !matches!(
            written.recv_timeout(POLL_INTERVAL),
            Err(RecvTimeoutError::Timeout)
        ) {
            return;
        }
        if shutdown::cause().is_some() {
            remaining = remaining.saturating_sub(POLL_INTERVAL);
            IS_STUCK.fetch_or(remaining.is_zero(), Ordering::Relaxed);
        }
    }
}

type Text = (String, mpsc::Sender<()>);

const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How long a write may take after a request to stop. Then it is abandoned, and so are later ones.
const STUCK_TIMEOUT: Duration = Duration::from_secs(1);
/// Texts that wait to be written. Each caller waits for its text, so there are few.
const MAX_QUEUE: usize = 16;

static IS_STUCK: AtomicBool = AtomicBool::new(false);
static WRITER: LazyLock<mpsc::SyncSender<Text>> = LazyLock::new(|| {
    let (sender, texts) = mpsc::sync_channel(MAX_QUEUE);
    std::thread::spawn(move || texts.iter().for_each(write));
    sender
});

fn write((text, done): Text) {
    let written = {
        let mut stdout = io::stdout().lock();
        stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
    };
    if let Err(error) = written {
        let is_closed = error.kind() == io::ErrorKind::BrokenPipe;
        let cause = if is_closed {
            Cause::OutputClosed
        } else {
            Cause::OutputFailed
        };
        if shutdown::request(cause) && !is_closed {
            complain(format_args!("cannot write to standard output: {error}"));
        }
    }
    // Fails after a request to stop, when the caller no longer waits.
    let _ = done.send(());
}

/// Writes a line to standard error, with the name of the program. An error of this write is ignored.
pub fn complain(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "valerix: {text}");
}

/// Whether a stream shows colours: it is a terminal that is not dumb, and `NO_COLOR` is not set.
#[must_use]
pub fn takes_colours(stream: &impl IsTerminal) -> bool {
    is_capable_terminal(stream) && variable("NO_COLOR").is_none()
}

/// Whether standard error can show a progress bar, which moves the cursor.
#[must_use]
pub fn shows_progress() -> bool {
    is_capable_terminal(&io::stderr())
}

fn is_capable_terminal(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && variable("TERM").is_none_or(|terminal| terminal != "dumb")
}
