//! Bad configuration, told in one line.

use std::error::Error;
use std::ffi::{OsStr, OsString};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, CommandFactory, FromArgMatches};

use super::{Cli, environment, secret_files};
use crate::platform::db::redact;
use crate::platform::environment::variable;
use crate::platform::output;

/// Reads the command line and the environment; on bad configuration says so in one line and exits
/// with code 2.
#[must_use]
pub fn parse() -> Cli {
    let arguments =
        secret_files::from_files(std::env::args_os().collect(), variable).unwrap_or_else(refuse);
    let cli = read(&arguments, environment::cleaned(Cli::command()));
    let cli = cli.unwrap_or_else(|error| match in_one_line(&error, &arguments) {
        Some(line) => refuse(line),
        None => error.exit(),
    });
    if let Err(contradiction) = cli.command.check() {
        refuse::<()>(contradiction);
    }
    cli
}

fn refuse<T>(complaint: String) -> T {
    output::complain(complaint);
    std::process::exit(2);
}

fn read(arguments: &[OsString], mut command: clap::Command) -> Result<Cli, clap::Error> {
    let mut matches = command.try_get_matches_from_mut(arguments)?;
    Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

/// Names the variable, what it held and what it takes; nothing for `--help` and wrong usage of the
/// command line.
fn in_one_line(error: &clap::Error, arguments: &[OsString]) -> Option<String> {
    let command = Cli::command();
    let subcommand = subcommand_of(&command, arguments);
    if error.kind() == ErrorKind::InvalidUtf8 {
        return not_text(subcommand, arguments);
    }
    named(error, subcommand).or_else(|| {
        // clap repeats what it cannot place, a password in it too.
        let is_address = error.use_stderr() && error.to_string().contains("://");
        is_address.then(|| {
            "an address is given by its flag, such as --database-url; see --help".to_owned()
        })
    })
}

fn named(error: &clap::Error, subcommand: Option<&clap::Command>) -> Option<String> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => Some(texts.join(", ")),
        _ => None,
    };
    let argument = text(ContextKind::InvalidArg)?;
    let flag = argument
        .split_whitespace()
        .find_map(|word| word.strip_prefix("--"));
    let known = flag.and_then(|flag| args_of(subcommand).find(|arg| arg.get_long() == Some(flag)));
    let name = known.map_or_else(|| argument.clone(), name_of);
    match error.kind() {
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
            let takes = error
                .source()
                .map(ToString::to_string)
                .or_else(|| text(ContextKind::ValidValue))?;
            let held = shown(&name, text(ContextKind::InvalidValue).unwrap_or_default());
            Some(without_controls(&format!(
                "{name} is '{held}'; it takes {takes}"
            )))
        }
        ErrorKind::MissingRequiredArgument => {
            let takes = if name.starts_with("DATABASE_URL") {
                "; it takes postgres://user:password@host:port/name"
            } else {
                ""
            };
            Some(format!("{name} is not set{takes}"))
        }
        _ => None,
    }
}

/// clap does not say which value is not UTF-8.
fn not_text(subcommand: Option<&clap::Command>, arguments: &[OsString]) -> Option<String> {
    let is_odd = |value: &OsStr| value.to_str().is_none();
    let held = |name: &str, value: &OsStr| shown(name, value.to_string_lossy().into_owned());
    let line = if let Some(position) = arguments.iter().position(|argument| is_odd(argument)) {
        let value = arguments[position].to_string_lossy();
        let flag = value.split_once('=').map(|(flag, _)| flag.to_owned());
        let before = position
            .checked_sub(1)
            .map(|before| arguments[before].to_string_lossy().into_owned());
        let name = flag.or(before).filter(|flag| flag.starts_with("--"));
        let name = name.unwrap_or_else(|| format!("argument {position}"));
        let known = args_of(subcommand).find(|arg| {
            arg.get_long()
                .is_some_and(|long| name.strip_prefix("--") == Some(long))
        });
        let name = known.map_or(name, name_of);
        let value = value
            .split_once('=')
            .map_or(&*value, |(_, value)| value)
            .to_owned();
        format!("{name} is '{}'; it takes UTF-8 text", shown(&name, value))
    } else {
        let (arg, value) = args_of(subcommand).find_map(|arg| {
            let value = std::env::var_os(arg.get_env()?)?;
            is_odd(&value).then_some((arg, value))
        })?;
        let name = name_of(arg);
        format!("{name} is '{}'; it takes UTF-8 text", held(&name, &value))
    };
    Some(without_controls(&line))
}

/// A value as a message may show it.
fn shown(name: &str, held: String) -> String {
    match name.split(' ').next() {
        Some(name) if name.ends_with("DATABASE_URL") && !held.is_empty() => redact(&held),
        // One list of secrets, so that none can be forgotten here.
        Some(name) if secret_files::SECRETS.contains(&name) && !held.is_empty() => "***".to_owned(),
        // An address with a password, perhaps a database's in the wrong place.
        _ if held.contains("://") && held.contains(['@', '?']) => redact(&held),
        _ => held,
    }
}

/// A line break in a value would make several lines of the message.
fn without_controls(line: &str) -> String {
    let escaped = |c: char| {
        if c.is_control() {
            c.escape_default().collect()
        } else {
            String::from(c)
        }
    };
    line.chars().map(escaped).collect()
}

/// The subcommand that the command line names.
pub(super) fn subcommand_of<'a>(
    command: &'a clap::Command,
    arguments: &[OsString],
) -> Option<&'a clap::Command> {
    arguments
        .iter()
        .find_map(|argument| command.find_subcommand(argument))
}

/// Its own arguments, and those of its subcommands.
fn args_of(subcommand: Option<&clap::Command>) -> impl Iterator<Item = &Arg> {
    subcommand.into_iter().flat_map(|command| {
        command.get_arguments().chain(
            command
                .get_subcommands()
                .flat_map(clap::Command::get_arguments),
        )
    })
}

/// `PORT (--port)`, or the flag alone where there is no variable.
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn line(arguments: &[&str]) -> String {
        let all: Vec<OsString> = ["valerix"]
            .iter()
            .chain(arguments)
            .map(OsString::from)
            .collect();
        let error = read(&all, Cli::command()).unwrap_err();
        in_one_line(&error, &all).unwrap_or_else(|| error.to_string())
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_wrong_value_is_told_in_one_line_with_name_value_and_what_is_taken() {
        let url = ["--database-url", "postgres://h/db"];
        for (flag, value, wanted) in [
            (
                "--port",
                "0",
                "PORT (--port) is '0'; it takes a port from 1 to 65535",
            ),
            (
                "--host",
                "here",
                "HOST (--host) is 'here'; it takes an IP address",
            ),
            (
                "--gremlin-enabled",
                "maybe",
                "GREMLIN_ENABLED (--gremlin-enabled) is 'maybe'; it takes true or false",
            ),
            (
                "--database-pool-size",
                "0",
                "DATABASE_POOL_SIZE (--database-pool-size) is '0'; it takes a number",
            ),
            (
                "--downstream-timeout-ms",
                "",
                "DOWNSTREAM_TIMEOUT_MS (--downstream-timeout-ms) is ''; it takes milli",
            ),
            (
                "--cors-allowed-origins",
                "*",
                "CORS_ALLOWED_ORIGINS (--cors-allowed-origins) is '*'; it takes origins",
            ),
            (
                "--otel-exporter-otlp-endpoint",
                "ftp://x",
                "OTEL_EXPORTER_OTLP_ENDPOINT (--otel-exporter-otlp-endpoint) is 'ftp://x'; it takes host:port",
            ),
            (
                "--log-format",
                "xml",
                "LOG_FORMAT (--log-format) is 'xml'; it takes pretty, json",
            ),
            (
                "--log",
                "a=b=c",
                "RUST_LOG (--log) is 'a=b=c'; it takes tracing directives",
            ),
            (
                "--log",
                "a[span]=debug",
                "RUST_LOG (--log) is 'a[span]=debug'; it takes tracing directives",
            ),
            (
                "--log",
                "a=",
                "RUST_LOG (--log) is 'a='; it takes tracing directives",
            ),
            (
                "--payment-service-url",
                "ftp://x",
                "PAYMENT_SERVICE_URL (--payment-service-url) is 'ftp://x'; it takes",
            ),
        ] {
            let told = line(&["order", url[0], url[1], flag, value]);
            assert!(told.starts_with(wanted), "{told}");
            assert!(!told.contains('\n'), "{told}");
        }
    }

    #[test]
    fn the_variable_is_that_of_the_subcommand() {
        let told = line(&["healthcheck", "--url", "ftp://x"]);
        assert!(told.starts_with("--url"), "{told}");
        let told = line(&["load", "--url", "ftp://x"]);
        assert!(
            told.starts_with("ORDER_SERVICE_URL (--url) is 'ftp://x'"),
            "{told}"
        );
    }

    #[test]
    fn control_characters_and_odd_bytes_stay_in_one_line() {
        use std::os::unix::ffi::OsStringExt;
        let told = line(&["demo", "--host", "127.0.0.1\nHOST"]);
        assert!(
            told.starts_with(r"HOST (--host) is '127.0.0.1\nHOST'; it takes"),
            "{told}"
        );
        for odd in [&[&b"--host"[..], b"1\xff"][..], &[b"--host=1\xff"]] {
            let mut all: Vec<OsString> = vec!["valerix".into(), "demo".into()];
            all.extend(
                odd.iter()
                    .map(|argument| OsString::from_vec(argument.to_vec())),
            );
            let error = read(&all, Cli::command()).unwrap_err();
            let told = in_one_line(&error, &all).unwrap();
            assert_eq!(told, "HOST (--host) is '1\u{fffd}'; it takes UTF-8 text");
        }
    }

    #[test]
    fn the_ports_of_a_demo_differ() {
        let check = |flag: &str, port: &str| {
            Cli::try_parse_from(["valerix", "demo", flag, port])
                .unwrap()
                .command
                .check()
        };
        assert_eq!(check("--payment-port", "5004"), Ok(()));
        let refused = check("--payment-port", "5001").unwrap_err();
        assert_eq!(
            refused,
            "--payment-port is '5001', as --order-port is; it takes a port of its own"
        );
    }

    #[test]
    fn a_key_is_remembered_for_as_long_as_its_order_may_be_unfinished() {
        let check = |ttl: &str, bound: &str| {
            let base = ["valerix", "order", "--database-url", "postgres://h/db"];
            let flags = [
                "--idempotency-key-ttl-seconds",
                ttl,
                "--recovery-bound-seconds",
                bound,
            ];
            Cli::try_parse_from(base.into_iter().chain(flags))
                .unwrap()
                .command
                .check()
        };
        assert_eq!(check("3600", "3600"), Ok(()));
        let refused = check("3599", "3600").unwrap_err();
        assert!(
            refused.starts_with("IDEMPOTENCY_KEY_TTL_SECONDS") && refused.contains("'3599'"),
            "{refused}"
        );
    }

    #[test]
    fn secrets_are_never_told() {
        let told = line(&[
            "order",
            "--database-url",
            "postgres://u:hunter2@h/db?sslmode=maybe",
        ]);
        assert!(
            told.contains("postgres://u:***@h/db?sslmode=maybe"),
            "{told}"
        );
        for misplaced in [
            &["order", "postgres://u:hunter2@h/db"][..],
            &["postgres://u:hunter2@h/db"],
            &["order", "--databas-url=postgres://u:hunter2@h/db"],
            &["completions", "postgres://u:hunter2@h/db"],
            &[
                "order",
                "--inventory-service-url",
                "postgres://h/db?password=hunter2",
            ],
            &["order", "--inventory-service-url", "http://u:hunter2@h"],
        ] {
            let told = line(misplaced);
            assert!(!told.contains("hunter2"), "{told}");
        }
        for secret in secret_files::SECRETS
            .iter()
            .filter(|secret| secret.ends_with("_TOKEN"))
        {
            let flag = format!("--{}", secret.to_lowercase().replace('_', "-"));
            let told = line(&[
                "order",
                "--database-url",
                "postgres://h/db",
                &flag,
                "hunter2 ",
            ]);
            assert!(
                told.starts_with(secret) && !told.contains("hunter2"),
                "{told}"
            );
        }
    }
}
