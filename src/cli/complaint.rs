//! Bad configuration, told in one line.

use std::error::Error;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser};

use super::{Cli, secrets};
use crate::platform::database::redact;

/// Reads the command line and the environment; on bad configuration says so in one line and exits with code 2.
#[must_use]
pub fn parse() -> Cli {
    let arguments = secrets::from_files(std::env::args_os().collect(), |name| std::env::var_os(name));
    let arguments = arguments.unwrap_or_else(|complaint| {
        eprintln!("valerix: {complaint}");
        std::process::exit(2);
    });
    let cli = Cli::try_parse_from(arguments).unwrap_or_else(|error| match in_one_line(&error) {
        Some(line) => {
            eprintln!("valerix: {line}");
            std::process::exit(2);
        }
        None => error.exit(),
    });
    if let Err(contradiction) = cli.command.check() {
        eprintln!("valerix: {contradiction}");
        std::process::exit(2);
    }
    cli
}

/// Names the variable, what it held and what it takes; nothing for `--help` and wrong usage of the command line.
fn in_one_line(error: &clap::Error) -> Option<String> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => Some(texts.join(", ")),
        _ => None,
    };
    let argument = text(ContextKind::InvalidArg)?;
    let name = variable_of(&argument).unwrap_or_else(|| argument.clone());
    match error.kind() {
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
            let takes = error.source().map(ToString::to_string).or_else(|| text(ContextKind::ValidValue))?;
            let held = text(ContextKind::InvalidValue).unwrap_or_default();
            let held = match name.split(' ').next() {
                Some(name) if name.ends_with("DATABASE_URL") && !held.is_empty() => redact(&held),
                // One list of secrets, so that none can be forgotten here.
                Some(name) if secrets::SECRETS.contains(&name) && !held.is_empty() => "***".to_owned(),
                _ => held,
            };
            Some(format!("{name} is '{held}'; it takes {takes}"))
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

/// `--port <PORT>` → `PORT (--port)`
fn variable_of(argument: &str) -> Option<String> {
    let flag = argument.split_whitespace().find_map(|word| word.strip_prefix("--"))?;
    let command = Cli::command();
    let mut arguments = command.get_subcommands().flat_map(clap::Command::get_arguments);
    let variable = arguments.find(|argument| argument.get_long() == Some(flag))?.get_env()?;
    Some(format!("{} (--{flag})", variable.to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(arguments: &[&str]) -> String {
        let all = ["valerix"].iter().chain(arguments);
        let error = Cli::try_parse_from(all).unwrap_err();
        in_one_line(&error).unwrap_or_else(|| error.to_string())
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_wrong_value_is_told_in_one_line_with_name_value_and_what_is_taken() {
        let url = ["--database-url", "postgres://h/db"];
        for (flag, value, wanted) in [
            ("--port", "0", "PORT (--port) is '0'; it takes a port from 1 to 65535"),
            ("--host", "here", "HOST (--host) is 'here'; it takes an IP address"),
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
            ("--log-format", "xml", "LOG_FORMAT (--log-format) is 'xml'; it takes pretty, json"),
            ("--log", "a=b=c", "RUST_LOG (--log) is 'a=b=c'; it takes tracing directives"),
            ("--log", "a[span]=debug", "RUST_LOG (--log) is 'a[span]=debug'; it takes tracing directives"),
            ("--log", "a=", "RUST_LOG (--log) is 'a='; it takes tracing directives"),
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
    fn a_key_is_remembered_for_as_long_as_its_order_may_be_unfinished() {
        let check = |ttl: &str, bound: &str| {
            let base = ["valerix", "order", "--database-url", "postgres://h/db"];
            let flags = ["--idempotency-key-ttl-seconds", ttl, "--recovery-bound-seconds", bound];
            Cli::try_parse_from(base.into_iter().chain(flags)).unwrap().command.check()
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
        let told = line(&["order", "--database-url", "postgres://u:hunter2@h/db?sslmode=maybe"]);
        assert!(told.contains("postgres://u:***@h/db?sslmode=maybe"), "{told}");
        for secret in secrets::SECRETS.iter().filter(|secret| secret.ends_with("_TOKEN")) {
            let flag = format!("--{}", secret.to_lowercase().replace('_', "-"));
            let told = line(&["order", "--database-url", "postgres://h/db", &flag, "hunter2 "]);
            assert!(told.starts_with(secret) && !told.contains("hunter2"), "{told}");
        }
    }
}
