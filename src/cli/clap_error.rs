//! Turns an error of clap into one line: the name of the argument, its value, and what it takes.

use std::error::Error;
use std::ffi::{OsStr, OsString};

use clap::Arg;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::error::ConfigError;
use super::secret_files::is_secret;
use crate::platform::db::redact;
use crate::platform::output::printable;

/// Describes an error of clap. Returns nothing for `--help`, `--version` and a command without its
/// subcommand, for which clap prints a help text.
pub fn in_one_line(
    error: &clap::Error,
    command: &clap::Command,
    arguments: &[OsString],
) -> Option<ConfigError> {
    let args = Args::of_subcommand(command, arguments);
    let see_help = SeeHelp::of(command, arguments);
    let line = match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => return None,
        ErrorKind::InvalidUtf8 => not_utf8(&args, arguments),
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
            invalid_value(error, &args, &see_help)
        }
        ErrorKind::MissingRequiredArgument => missing(error, &args, &see_help),
        // clap repeats an argument that it does not know, and an address may have a password in it.
        _ if error.to_string().contains("://") => Some(MISPLACED_ADDRESS.to_owned()),
        _ => wrong_usage(error, &args, &see_help),
    };
    line.map(|line| ConfigError(printable(&line)))
}

const MISPLACED_ADDRESS: &str = "an argument is not known; pass an address with its flag, such as \
                                 --database-url; see --help";

/// The command that the command line names, such as `valerix stock add`.
struct SeeHelp(String);

impl SeeHelp {
    fn of(mut command: &clap::Command, arguments: &[OsString]) -> Self {
        let mut name = command.get_name().to_owned();
        for argument in arguments.iter().skip(1) {
            if let Some(subcommand) = command.find_subcommand(argument) {
                name = format!("{name} {}", subcommand.get_name());
                command = subcommand;
            }
        }
        Self(name)
    }
}

impl std::fmt::Display for SeeHelp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "see '{} --help'", self.0)
    }
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

    /// The argument that clap names, as in `--port <PORT>` or `[ID]`, and its name for users.
    fn described(&self, text: &str) -> (Option<&'a Arg>, String) {
        let mut words = text.split_whitespace();
        let arg = words.find_map(|word| self.with_flag(word));
        let plain = || text.trim_matches(['<', '>', '[', ']', '.']).to_owned();
        (arg, arg.map_or_else(plain, name_of))
    }
}

fn context(error: &clap::Error, kind: ContextKind) -> Option<Vec<String>> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => Some(vec![text.clone()]),
        Some(ContextValue::Strings(texts)) => Some(texts.clone()),
        _ => None,
    }
}

/// `a, b and c`, where the word between the last two is given.
fn listed(texts: &[String], word: &str) -> String {
    match texts {
        [rest @ .., last] if !rest.is_empty() => format!("{} {word} {last}", rest.join(", ")),
        _ => texts.concat(),
    }
}

fn invalid_value(error: &clap::Error, args: &Args, see_help: &SeeHelp) -> Option<String> {
    let named = context(error, ContextKind::InvalidArg)?.concat();
    let value = context(error, ContextKind::InvalidValue).unwrap_or_default();
    let (arg, name) = args.described(&named);
    let parser = error.source().map(ToString::to_string);
    let known = || Some(listed(&context(error, ContextKind::ValidValue)?, "or"));
    let Some(takes) = parser.or_else(known).filter(|takes| !takes.is_empty()) else {
        return Some(format!("{name} needs a value; {see_help}"));
    };
    let value = redact_value(arg, &value.concat());
    Some(format!("{name} is '{value}'; it takes {takes}"))
}

fn missing(error: &clap::Error, args: &Args, see_help: &SeeHelp) -> Option<String> {
    let missing = context(error, ContextKind::InvalidArg)?;
    let names: Vec<_> = missing.iter().map(|arg| args.described(arg).1).collect();
    let are = if names.len() == 1 { "is" } else { "are" };
    let next = if names.iter().any(|name| name.starts_with("DATABASE_URL")) {
        "it takes postgres://user:password@host:port/name".to_owned()
    } else {
        see_help.to_string()
    };
    Some(format!("{} {are} not set; {next}", listed(&names, "and")))
}

/// Arguments and subcommands that the command does not have, or not in this way.
fn wrong_usage(error: &clap::Error, args: &Args, see_help: &SeeHelp) -> Option<String> {
    let text = |kind| context(error, kind).map(|texts| texts.concat());
    let name = |kind| text(kind).map(|named| args.described(&named).1);
    let command = &see_help.0;
    let problem = match error.kind() {
        ErrorKind::UnknownArgument => {
            let suggested = text(ContextKind::SuggestedArg);
            let unknown = text(ContextKind::InvalidArg)?;
            let problem = format!("'{command}' takes no argument '{unknown}'");
            with_suggestion(problem, suggested)
        }
        ErrorKind::InvalidSubcommand => {
            let suggested = context(error, ContextKind::SuggestedSubcommand);
            let suggested = suggested.map(|names| listed(&names, "or"));
            let unknown = text(ContextKind::InvalidSubcommand)?;
            with_suggestion(format!("'{command}' has no command '{unknown}'"), suggested)
        }
        ErrorKind::MissingSubcommand => {
            let known = context(error, ContextKind::ValidSubcommand)?;
            format!("'{command}' needs a command: {}", listed(&known, "or"))
        }
        ErrorKind::ArgumentConflict => {
            let (one, other) = (name(ContextKind::InvalidArg)?, name(ContextKind::PriorArg)?);
            if one == other {
                format!("{one} is given more than once")
            } else {
                format!("{one} and {other} exclude each other")
            }
        }
        ErrorKind::TooManyValues => {
            let value = text(ContextKind::InvalidValue)?;
            let named = text(ContextKind::InvalidArg)?;
            let (arg, name) = args.described(&named);
            format!(
                "{name} is '{}'; it takes no value",
                redact_value(arg, &value)
            )
        }
        _ => return None,
    };
    Some(if problem.ends_with('?') {
        format!("{problem} See '{command} --help'")
    } else {
        format!("{problem}; {see_help}")
    })
}

fn with_suggestion(problem: String, suggested: Option<String>) -> String {
    match suggested {
        Some(suggested) => format!("{problem}; did you mean {suggested}?"),
        None => problem,
    }
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
