//! Secrets from files: `DATABASE_URL_FILE` names a file that holds the value of `DATABASE_URL`, and
//! likewise for the other secrets.

use std::ffi::OsString;

use clap::{Arg, Command};

use super::error::ConfigError;
use crate::platform::db::redact;

/// Whether the value of an argument must never be shown, and can be read from a file. Such an
/// argument has a variable whose value clap hides in its help.
pub fn is_secret(arg: &Arg) -> bool {
    arg.is_hide_env_values_set()
}

/// The variables that name the files of secrets, of all subcommands.
pub fn file_variables(command: &Command) -> impl Iterator<Item = String> {
    command.get_subcommands().flat_map(|subcommand| {
        let secrets = subcommand.get_arguments().filter(|arg| is_secret(arg));
        secrets.filter_map(|arg| Some(file_variable(arg.get_env()?.to_str()?)))
    })
}

fn file_variable(variable: &str) -> String {
    format!("{variable}_FILE")
}

/// Adds the secrets that files hold to the command line, as flags of its subcommand. A flag that is
/// already there wins, as it does over a variable.
///
/// # Errors
/// When a file cannot be read, or the variable itself is set too.
pub fn add_flags(
    mut arguments: Vec<OsString>,
    command: &Command,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Vec<OsString>, ConfigError> {
    let mut positions = arguments.iter().enumerate();
    let subcommand = positions.find_map(|(position, argument)| {
        Some((position, command.find_subcommand(argument.to_str()?)?))
    });
    let Some((position, subcommand)) = subcommand else {
        return Ok(arguments);
    };
    let mut flags = Vec::new();
    for arg in subcommand.get_arguments().filter(|arg| is_secret(arg)) {
        let (Some(name), Some(long)) = (arg.get_env().and_then(|env| env.to_str()), arg.get_long())
        else {
            continue;
        };
        let flag = format!("--{long}");
        if has_flag(&arguments, &flag) {
            continue;
        }
        let Some(path) = variable(&file_variable(name)) else {
            continue;
        };
        if variable(name).is_some() {
            return Err(ConfigError(format!(
                "{name} and {name}_FILE are both set; unset one of them"
            )));
        }
        let secret = read_secret(name, &path)?;
        flags.push(OsString::from(format!("{flag}={secret}")));
    }
    let rest = arguments.split_off(position + 1);
    Ok(arguments.into_iter().chain(flags).chain(rest).collect())
}

fn has_flag(arguments: &[OsString], flag: &str) -> bool {
    let with_value = format!("{flag}=");
    let is_flag = |text: &str| text == flag || text.starts_with(&with_value);
    arguments
        .iter()
        .any(|argument| argument.to_str().is_some_and(is_flag))
}

/// Reads the file, without the white space at its ends: editors add a line break.
fn read_secret(name: &str, path: &OsString) -> Result<String, ConfigError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(error) => {
            let path = path.to_string_lossy();
            // Perhaps the secret itself, in the wrong variable.
            let path = if path.contains("://") {
                redact(&path)
            } else {
                path.into_owned()
            };
            Err(ConfigError(format!(
                "{name}_FILE is '{path}'; it takes a readable file: {error}"
            )))
        }
    }
}
