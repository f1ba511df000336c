//! Turns an error of clap into one line: the name of the argument, its value, and what it takes.

use std::error::Error;
use std::ffi::{OsStr, OsString};

use clap::Arg;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::error::ConfigError;
use super::secret_files::is_secret;
use crate::platform::db::redact;
use crate::platform::output::printable;

/// Describes an error of clap. Returns nothing for `--help` and for wrong usage of the command
/// line, which clap describes in several lines.
pub fn in_one_line(
    error: &clap::Error,
    command: &clap::Command,
    arguments: &[OsString],
) -> Option<ConfigError> {
    let args = Args::of_subcommand(command, arguments);
    let line = match error.kind() {
        ErrorKind::InvalidUtf8 => not_utf8(&args, arguments),
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => invalid_value(error, &args),
        ErrorKind::MissingRequiredArgument => missing(error, &args),
        _ => None,
    };
    let line = line.or_else(|| misplaced_address(error))?;
    Some(ConfigError(printable(&line)))
}

/// The arguments of a subcommand, and of its own subcommands.
struct Args<'a>(Vec<&'a Arg>);

impl<'a> Args<'a> {
    fn of_subcommand(command: &'a clap::Command, arguments: &[OsString]) -> Self {
        let subcommand = arguments
            .iter()
            .find_map(|argument| command.find_subcommand(argument));
        let args = subcommand.into_iter().flat_map(|command| {
            let nested = command.get_subcommands();
            let nested = nested.flat_map(clap::Command::get_arguments);
            command.get_arguments().chain(nested)
        });
        Self(args.collect())
    }

    /// The argument with a flag such as `--port`.
    fn with_flag(&self, flag: &str) -> Option<&'a Arg> {
        let long = flag.strip_prefix("--")?;
        let mut args = self.0.iter().copied();
        args.find(|arg| arg.get_long() == Some(long))
    }

    /// The argument that clap names, as in `--port <PORT>`.
    fn named_by_clap(&self, text: &str) -> Option<&'a Arg> {
        text.split_whitespace()
            .find_map(|word| self.with_flag(word))
    }
}

fn context(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => Some(texts.join(", ")),
        _ => None,
    }
}

fn invalid_value(error: &clap::Error, args: &Args) -> Option<String> {
    let named = context(error, ContextKind::InvalidArg)?;
    let takes = error
        .source()
        .map(ToString::to_string)
        .or_else(|| context(error, ContextKind::ValidValue))?;
    let value = context(error, ContextKind::InvalidValue).unwrap_or_default();
    let arg = args.named_by_clap(&named);
    let name = arg.map_or(named, name_of);
    let value = redact_value(arg, &value);
    Some(format!("{name} is '{value}'; it takes {takes}"))
}

fn missing(error: &clap::Error, args: &Args) -> Option<String> {
    let named = context(error, ContextKind::InvalidArg)?;
    let name = args.named_by_clap(&named).map_or(named, name_of);
    let takes = if name.starts_with("DATABASE_URL") {
        "; it takes postgres://user:password@host:port/name"
    } else {
        ""
    };
    Some(format!("{name} is not set{takes}"))
}

/// clap does not say which value is not UTF-8.
fn not_utf8(args: &Args, arguments: &[OsString]) -> Option<String> {
    let is_invalid = |value: &OsStr| value.to_str().is_none();
    let position = arguments.iter().position(|argument| is_invalid(argument));
    let (arg, name, value) = if let Some(position) = position {
        let text = arguments[position].to_string_lossy();
        let previous = position
            .checked_sub(1)
            .map(|previous| arguments[previous].to_string_lossy());
        let (flag, value) = match text.split_once('=') {
            Some((flag, value)) => (Some(flag), value),
            None => (previous.as_deref(), &*text),
        };
        let flag = flag.filter(|flag| flag.starts_with("--"));
        let arg = flag.and_then(|flag| args.with_flag(flag));
        let name = flag.map_or_else(|| format!("argument {position}"), str::to_owned);
        (arg, arg.map_or(name, name_of), value.to_owned())
    } else {
        let (arg, value) = args.0.iter().find_map(|arg| {
            let value = std::env::var_os(arg.get_env()?)?;
            is_invalid(&value).then_some((*arg, value))
        })?;
        (
            Some(arg),
            name_of(arg),
            value.to_string_lossy().into_owned(),
        )
    };
    let value = redact_value(arg, &value);
    Some(format!("{name} is '{value}'; it takes UTF-8 text"))
}

/// clap repeats an argument that it does not know, and an address may have a password in it.
fn misplaced_address(error: &clap::Error) -> Option<String> {
    let has_address = error.use_stderr() && error.to_string().contains("://");
    has_address.then(|| {
        "an argument is not known; pass an address with its flag, such as --database-url; see \
         --help"
            .to_owned()
    })
}

/// Removes passwords and tokens from the value of an argument.
fn redact_value(arg: Option<&Arg>, value: &str) -> String {
    let is_address = |arg: &Arg| {
        let variable = arg.get_env().and_then(OsStr::to_str);
        variable.is_some_and(|name| name.ends_with("DATABASE_URL"))
    };
    match arg.filter(|arg| is_secret(arg) && !value.is_empty()) {
        Some(arg) if is_address(arg) => redact(value),
        Some(_) => "***".to_owned(),
        // Perhaps the address of a database, in the wrong argument.
        None if value.contains("://") && value.contains(['@', '?']) => redact(value),
        None => value.to_owned(),
    }
}

/// `PORT (--port)`, or the flag alone if there is no variable.
fn name_of(arg: &Arg) -> String {
    let flag = arg.get_long().map(|long| format!("--{long}"));
    let variable = arg
        .get_env()
        .map(|name| name.to_string_lossy().into_owned());
    match (variable, flag) {
        (Some(variable), Some(flag)) => format!("{variable} ({flag})"),
        (Some(name), None) | (None, Some(name)) => name,
        (None, None) => arg.get_id().to_string(),
    }
}
