//! Lets clap read environment variables as [`crate::platform::environment`] does.

use std::ffi::OsStr;

use clap::builder::Resettable;
use clap::{Arg, Command};

use crate::platform::environment::variable;

/// The command with each argument's variable cleaned. clap reads variables itself, so one whose
/// value must change comes in as the argument's default: a flag still wins over it.
pub fn cleaned(command: Command) -> Command {
    command.mut_args(clean).mut_subcommands(cleaned)
}

fn clean(arg: Arg) -> Arg {
    let Some(name) = arg.get_env().map(OsStr::to_owned) else {
        return arg;
    };
    let (raw, value) = (std::env::var_os(&name), name.to_str().and_then(variable));
    if raw == value {
        return arg;
    }
    let arg = arg.env(Resettable::Reset);
    match value {
        // clap keeps such a text for as long as it runs.
        Some(value) => arg
            .required(false)
            .default_value(&*Box::leak(value.into_boxed_os_str())),
        None => arg,
    }
}
