//! Requests to stop the process: by a signal, when the supervisor ends, or when standard output has
//! no reader.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::LazyLock;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};

/// Why a process stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    Interrupted,
    Terminated,
    HungUp,
    SupervisorGone,
    /// The reader of standard output has closed it.
    OutputClosed,
    /// A write to standard output failed, for example because the disk is full.
    OutputFailed,
}

impl Cause {
    /// Returns the exit code of a command that was stopped before it finished, after the convention
    /// of shells.
    #[must_use]
    pub fn exit_code(self) -> ExitCode {
        self.code().into()
    }

    const fn code(self) -> u8 {
        match self {
            Self::HungUp => 129,
            Self::Interrupted => 130,
            Self::OutputClosed => 141,
            Self::Terminated => 143,
            Self::SupervisorGone | Self::OutputFailed => 1,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupted => "interrupted",
            Self::Terminated => "SIGTERM",
            Self::HungUp => "SIGHUP",
            Self::SupervisorGone => "the supervisor has ended",
            Self::OutputClosed => "standard output was closed",
            Self::OutputFailed => "standard output cannot be written",
        })
    }
}

/// The request to stop. It is global, because signals and standard output belong to the process.
static REQUEST: LazyLock<watch::Sender<Option<Cause>>> = LazyLock::new(|| watch::channel(None).0);

/// Asks the process to stop. Returns whether this was the first request.
pub fn request(cause: Cause) -> bool {
    REQUEST.send_if_modified(|request| {
        let is_first = request.is_none();
        request.get_or_insert(cause);
        is_first
    })
}

/// Returns why the process was asked to stop, if it was.
#[must_use]
pub fn cause() -> Option<Cause> {
    *REQUEST.borrow()
}

/// A request to stop that any task can await. Clones share it.
#[derive(Clone)]
pub struct Shutdown(watch::Receiver<Option<Cause>>);

impl Shutdown {
    /// Listens for SIGINT, SIGTERM and SIGHUP. SIGHUP stays ignored if the process was started with
    /// it ignored, as `nohup` does.
    ///
    /// # Errors
    /// When a signal handler cannot be installed.
    pub fn listen() -> io::Result<Self> {
        let (ready, outcome) = std::sync::mpsc::channel();
        // On a separate thread, because the others may be busy, or blocked by output that the
        // reader does not read.
        std::thread::spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread()
                .enable_io()
                .build()
            {
                Ok(runtime) => runtime,
                Err(error) => return drop(ready.send(Err(error))),
            };
            runtime.block_on(async {
                match Signals::listen() {
                    Ok(mut signals) => {
                        let _ = ready.send(Ok(()));
                        let cause = signals.first().await;
                        tracing::info!("stopping: {cause}");
                        request(cause);
                        // Later signals have no effect.
                        std::future::pending::<()>().await;
                    }
                    Err(error) => drop(ready.send(Err(error))),
                }
            });
        });
        outcome.recv().map_err(io::Error::other)??;
        Ok(Self(REQUEST.subscribe()))
    }

    /// Also requests to stop when standard input ends. The supervisor holds it open, so it ends
    /// with the supervisor, whatever the reason.
    pub fn watch_supervisor(&self) {
        tokio::spawn(async {
            wait_for_end_of_input().await;
            tracing::info!("stopping: {}", Cause::SupervisorGone);
            request(Cause::SupervisorGone);
        });
    }

    /// Also requests to stop as soon as the reader of standard output closes it, and not only when
    /// the next line is written.
    pub fn watch_output(&self) {
        std::thread::spawn(|| {
            if wait_for_closed_output() {
                request(Cause::OutputClosed);
            }
        });
    }

    /// Exits the process on a request to stop. For commands that have nothing to clean up.
    pub fn exit_process(self) {
        tokio::spawn(async move {
            self.requested().await;
            std::process::exit(cause().map_or(1, Cause::code).into());
        });
    }

    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Waits for a request to stop.
    pub async fn requested(&self) {
        let mut receiver = self.0.clone();
        // The sender is never dropped.
        let _ = receiver.wait_for(Option::is_some).await;
    }
}

struct Signals {
    sigint: Signal,
    sigterm: Signal,
    /// `None` if the signal is ignored.
    sighup: Option<Signal>,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        let handles_sighup = !is_ignored(SignalKind::hangup());
        Ok(Self {
            sigint: signal(SignalKind::interrupt())?,
            sigterm: signal(SignalKind::terminate())?,
            sighup: handles_sighup
                .then(|| signal(SignalKind::hangup()))
                .transpose()?,
        })
    }

    async fn first(&mut self) -> Cause {
        let hung_up = async {
            match &mut self.sighup {
                Some(sighup) => sighup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.sigint.recv() => Cause::Interrupted,
            _ = self.sigterm.recv() => Cause::Terminated,
            _ = hung_up => Cause::HungUp,
        }
    }
}

/// Whether the process was started with the signal ignored. Returns false on systems without
/// `/proc`.
fn is_ignored(signal: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or_default();
    mask >> (signal.as_raw_value() - 1) & 1 == 1
}

/// Waits for the end of standard input. A separate thread reads it, because a pending read of
/// tokio's standard input would prevent the runtime from shutting down.
async fn wait_for_end_of_input() {
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        let _ = sender.send(());
    });
    let _ = receiver.await;
}

/// Blocks until standard output has no reader; for a file, that never happens. Returns false if the
/// operating system cannot tell.
fn wait_for_closed_output() -> bool {
    let stdout = io::stdout();
    let mut watched = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
    loop {
        match poll(&mut watched, PollTimeout::NONE) {
            Ok(_) => return watched[0].any().unwrap_or(true),
            Err(Errno::EINTR) => {}
            Err(_) => return false,
        }
    }
}
