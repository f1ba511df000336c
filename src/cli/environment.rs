//! Makes clap read environment variables as [`crate::platform::environment`] does: blank values
//! count as not set, and white space at the ends is dropped.

use std::ffi::OsStr;

use clap::builder::Resettable;
use clap::{Arg, Command};

use crate::platform::environment::variable;

/// Returns the command with the variable of each argument trimmed, in all subcommands.
///
/// clap reads variables itself and cannot change them. An argument whose variable must change gets
/// the trimmed value as its default instead; a flag still wins over it.
pub fn with_trimmed_variables(command: Command) -> Command {
    command
        .mut_args(with_trimmed_variable)
        .mut_subcommands(with_trimmed_variables)
}

fn with_trimmed_variable(arg: Arg) -> Arg {
    let Some(name) = arg.get_env().map(OsStr::to_owned) else {
        return arg;
    };
    let raw = std::env::var_os(&name);
    let value = name.to_str().and_then(variable);
    if raw == value {
        return arg;
    }
    let arg = arg.env(Resettable::Reset);
    match value {
        // clap takes defaults of static lifetime only. This runs once, at start.
        Some(value) => arg
            .required(false)
            .default_value(&*Box::leak(value.into_boxed_os_str())),
        None => arg,
    }
}
