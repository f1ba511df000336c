//! Reads the command line, the environment, and secrets from files.

use std::ffi::OsString;

use clap::{CommandFactory, FromArgMatches};

use super::command::Cli;
use super::error::ConfigError;
use super::number_parsers::with_negative_numbers;
use super::{clap_error, environment, secret_files};
use crate::platform::environment::variable;
use crate::platform::output;

/// Reads the configuration of the process. On bad configuration it prints one line and exits with
/// code 2.
#[must_use]
pub fn parse() -> Cli {
    let arguments = std::env::args_os().collect();
    let arguments = secret_files::add_flags(arguments, &Cli::command(), variable)
        .unwrap_or_else(|error| refuse(&error));
    let command = environment::with_trimmed_variables(Cli::command());
    let cli = read(command, &arguments).unwrap_or_else(|error| {
        match clap_error::in_one_line(&error, &Cli::command(), &arguments) {
            Some(error) => refuse(&error),
            None => error.exit(),
        }
    });
    if let Err(error) = cli.command.check() {
        refuse(&error);
    }
    cli
}

fn refuse(error: &ConfigError) -> ! {
    output::print_error(error);
    std::process::exit(2);
}

pub(super) fn read(command: clap::Command, arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let mut command = with_negative_numbers(command);
    let mut matches = command.try_get_matches_from_mut(arguments)?;
    Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}
