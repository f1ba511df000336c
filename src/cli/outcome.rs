//! How a command ends: its exit code, its report, and its reaction to signals.

use std::error::Error;
use std::fmt::Display;
use std::io;
use std::process::ExitCode;

use serde::Serialize;

use crate::platform::output;
use crate::platform::shutdown::{self, Cause, Shutdown};

/// The exit code of a command, or the error that `main` prints before it exits with code 1.
pub type Outcome = Result<ExitCode, Box<dyn Error>>;

/// Listens for signals and for the end of standard output, for a command that must stop what it
/// has started.
pub(super) fn listen_for_shutdown() -> io::Result<Shutdown> {
    let shutdown = Shutdown::listen()?;
    shutdown.watch_output();
    Ok(shutdown)
}

/// Ends the process on a signal, for a command that has nothing to clean up. Without a handler,
/// the first process of a container would ignore SIGTERM.
pub(super) fn exit_on_signal() -> io::Result<()> {
    Shutdown::listen()?.exit_process();
    Ok(())
}

/// Returns the exit code of a command that was stopped before it was done, and prints the cause.
/// Prints nothing if the output was closed or could not be written.
pub(super) fn stopped() -> ExitCode {
    let cause = shutdown::cause().unwrap_or(Cause::Interrupted);
    if !matches!(cause, Cause::OutputClosed | Cause::OutputFailed) {
        output::print_error(format_args!("stopped ({cause})"));
    }
    cause.exit_code()
}

/// Prints a report as text or as JSON.
pub(super) fn print_report(
    report: &(impl Display + Serialize),
    json: bool,
) -> serde_json::Result<()> {
    output::print_line(if json {
        serde_json::to_string_pretty(report)?
    } else {
        report.to_string()
    });
    Ok(())
}
