//! What commands print. `println!` panics when its text cannot be written, and a panic leaves
//! started processes behind; this module requests an orderly stop instead.

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
/// A thread of its own writes, because a reader that does not read blocks a write for as long as it
/// likes: the program must still hear that it is to stop, and clean up.
pub fn print(text: impl Display) {
    let (done, written) = mpsc::channel();
    let mut waiting = Some((text.to_string(), done));
    let mut patience = STUCK_LIMIT;
    while !(shutdown::cause().is_some() && IS_STUCK.load(Ordering::Relaxed)) {
        if let Some(text) = waiting.take()
            && let Err(TrySendError::Full(text)) = WRITER.try_send(text)
        {
            waiting = Some(text);
        }
        // An answer, or no writer any more.
        if !matches!(written.recv_timeout(POLL), Err(RecvTimeoutError::Timeout)) {
            return;
        }
        if shutdown::cause().is_some() {
            patience = patience.saturating_sub(POLL);
            IS_STUCK.fetch_or(patience.is_zero(), Ordering::Relaxed);
        }
    }
}

type Text = (String, mpsc::Sender<()>);

const POLL: Duration = Duration::from_millis(20);
/// How long a write may take once the program is to stop; then it is given up, and all that follow.
const STUCK_LIMIT: Duration = Duration::from_secs(1);
/// Texts that wait to be written. Whoever prints waits too, so there are few.
const QUEUE: usize = 16;

static IS_STUCK: AtomicBool = AtomicBool::new(false);
static WRITER: LazyLock<mpsc::SyncSender<Text>> = LazyLock::new(|| {
    let (sender, texts) = mpsc::sync_channel(QUEUE);
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
    // Nobody waits any more after the program was asked to stop.
    let _ = done.send(());
}

/// Writes a line to standard error, with the program's name. An error there has nowhere to go.
pub fn complain(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "valerix: {text}");
}

/// Whether a stream takes colours: a terminal that is not dumb, and no `NO_COLOR`.
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
