//! Runs the commands for operators, `valerix stock` and `valerix orders`.

use std::fmt::Display;
use std::process::ExitCode;

use serde::Serialize;
use tokio::task::LocalSet;

use super::outcome::{Outcome, exit_on_signal, print_report};
use crate::operator_client::OperatorError;

/// Runs a command against a service, and prints its report. A command that the service refuses, or
/// whose outcome is not known, is an error.
pub(super) async fn run<R: Display + Serialize>(
    command: impl Future<Output = Result<R, OperatorError>>,
    json: bool,
) -> Outcome {
    exit_on_signal()?;
    let report = LocalSet::new().run_until(command).await?;
    print_report(&report, json)?;
    Ok(ExitCode::SUCCESS)
}
