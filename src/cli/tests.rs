//! The command line as a whole: its errors, and the secrets that it must not show.

use std::ffi::OsString;

use clap::{Arg, CommandFactory, Parser};

use super::clap_error;
use super::command::Cli;
use super::error::ConfigError;
use super::parse::read;
use super::secret_files::{self, is_secret};
use crate::describe::{Description, Inputs};
use crate::testbed::service_kind::ServiceKind;

const SERVICE: [&str; 3] = ["order", "--database-url", "postgres://h/db"];

/// The line that is printed for a command line that clap refuses.
pub(super) fn line(arguments: &[&str]) -> String {
    let all = ["valerix"].iter().chain(arguments);
    line_of(&all.map(OsString::from).collect::<Vec<_>>())
}

fn line_of(arguments: &[OsString]) -> String {
    let error = read(Cli::command(), arguments).unwrap_err();
    clap_error::in_one_line(&error, &Cli::command(), arguments)
        .map_or_else(|| error.to_string(), |error| error.to_string())
}

fn check(arguments: &[&str]) -> Result<(), ConfigError> {
    let all = ["valerix"].iter().chain(arguments);
    Cli::try_parse_from(all).unwrap().command.check()
}

pub(super) fn all_args(command: &clap::Command) -> Vec<&Arg> {
    let nested = command.get_subcommands().flat_map(all_args);
    command.get_arguments().chain(nested).collect()
}

#[test]
fn the_command_line_is_well_formed() {
    Cli::command().debug_assert();
}

#[test]
fn every_argument_has_a_help_text() {
    let command = Cli::command();
    for arg in all_args(&command) {
        assert!(arg.get_help().is_some() || arg.get_id() == "shell", "{arg}");
    }
}

/// The command and all its subcommands, nested ones included.
fn all_commands(command: &clap::Command) -> Vec<clap::Command> {
    let nested = command.get_subcommands().flat_map(all_commands);
    std::iter::once(command.clone()).chain(nested).collect()
}

#[test]
fn every_help_text_fits_80_columns() {
    let mut root = Cli::command();
    root.build();
    for mut command in all_commands(&root) {
        let help = command.render_help().to_string() + &command.render_long_help().to_string();
        for line in help.lines() {
            let fits = line.chars().count() <= 80;
            // clap does not break a word.
            assert!(
                fits || line.trim().split(' ').count() < 4,
                "{}: {line}",
                command.get_name()
            );
        }
    }
}

#[test]
fn every_line_of_the_description_fits_80_columns() {
    let description = Description::new(Inputs {
        command: &Cli::command(),
        services: Vec::new(),
        variables_without_flag: Vec::new(),
        default_database_pool_size: 16,
    });
    let text = description.to_string();
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    let demo = "\naudit, demo\n  VALERIX_DATA_DIR                       -";
    assert!(text.contains(demo), "{text}");
}

#[test]
fn every_example_in_a_help_text_is_a_valid_command_line() {
    let root = Cli::command();
    let mut examples = 0;
    let first_level = root.get_subcommands().map(clap::Command::get_name);
    let first_level: Vec<_> = first_level.collect();
    for command in all_commands(&root) {
        let name = command.get_name();
        let Some(text) = command.get_after_help().map(ToString::to_string) else {
            assert!(!first_level.contains(&name), "{name} has no examples");
            continue;
        };
        for line in text.lines().filter(|line| line.starts_with("  ")) {
            let Some((_, line)) = line.split_once("valerix ") else {
                continue;
            };
            // Two spaces separate the example from its explanation; a `>` redirects its output.
            let line = line.split("  ").next().unwrap_or_default();
            let line = line.split(" > ").next().unwrap_or_default();
            let id = "00000000-0000-0000-0000-000000000000";
            let line = format!("valerix {}", line.replace(" ID", &format!(" {id}")));
            let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let outcome = read(Cli::command(), &arguments);
            // An example may leave the address of the database to the environment.
            let is_valid = outcome.as_ref().map_or_else(
                |error| {
                    let missing = clap::error::ContextValue::Strings(vec![
                        "--database-url <DATABASE_URL>".to_owned(),
                    ]);
                    error.kind() == clap::error::ErrorKind::MissingRequiredArgument
                        && error.context().any(|(_, value)| *value == missing)
                },
                |_| true,
            );
            assert!(is_valid, "{line}: {outcome:?}");
            examples += 1;
        }
    }
    assert!(examples > 20, "{examples}");
}

#[test]
fn help_texts_name_the_default_port_of_each_service() {
    let command = Cli::command();
    for kind in ServiceKind::ALL {
        let service = command.find_subcommand(kind.as_str()).unwrap();
        let port = kind.default_port();
        let about = service.get_about().unwrap().to_string();
        assert!(about.contains(&format!("(port {port})")), "{about}");
        let args = all_args(service);
        let arg = args.iter().find(|arg| arg.get_long() == Some("port"));
        let help = arg.unwrap().get_help().unwrap().to_string();
        assert!(help.contains(&format!("{port} {kind}")), "{help}");
    }
}

#[test]
fn a_wrong_value_gives_one_line_with_name_value_and_what_it_takes() {
    for (flag, value, start) in [
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
            "DATABASE_POOL_SIZE (--database-pool-size) is '0'; it takes a whole number from 1 to \
             1000",
        ),
        (
            "--downstream-timeout-ms",
            "",
            "DOWNSTREAM_TIMEOUT_MS (--downstream-timeout-ms) is ''; it takes whole milliseconds \
             from 1",
        ),
        (
            "--cors-allowed-origins",
            "*",
            "CORS_ALLOWED_ORIGINS (--cors-allowed-origins) is '*'; it takes origins",
        ),
        (
            "--otel-exporter-otlp-endpoint",
            "ftp://x",
            "OTEL_EXPORTER_OTLP_ENDPOINT (--otel-exporter-otlp-endpoint) is 'ftp://x'; it takes \
             host:port",
        ),
        (
            "--log-format",
            "xml",
            "LOG_FORMAT (--log-format) is 'xml'; it takes pretty or json",
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
        let line = line(&[&SERVICE[..], &[flag, value]].concat());
        assert!(line.starts_with(start), "{line}");
        assert!(!line.contains('\n'), "{line}");
    }
}

#[test]
fn a_flag_is_named_with_the_variable_of_its_subcommand() {
    let healthcheck = line(&["healthcheck", "--url", "ftp://x"]);
    assert!(healthcheck.starts_with("--url"), "{healthcheck}");
    let load = line(&["load", "--url", "ftp://x"]);
    assert!(
        load.starts_with("ORDER_SERVICE_URL (--url) is 'ftp://x'"),
        "{load}"
    );
}

#[test]
fn control_characters_and_invalid_utf8_stay_in_one_line() {
    use std::os::unix::ffi::OsStringExt;
    let line = line(&["demo", "--host", "127.0.0.1\nHOST"]);
    assert!(
        line.starts_with(r"HOST (--host) is '127.0.0.1\nHOST'; it takes"),
        "{line}"
    );
    for invalid in [&[&b"--host"[..], b"1\xff"][..], &[b"--host=1\xff"]] {
        let mut all: Vec<OsString> = vec!["valerix".into(), "demo".into()];
        let invalid = invalid.iter().map(|bytes| bytes.to_vec());
        all.extend(invalid.map(OsString::from_vec));
        assert_eq!(
            line_of(&all),
            "HOST (--host) is '1\u{fffd}'; it takes UTF-8 text"
        );
    }
}

#[test]
fn the_ports_of_a_demo_must_differ() {
    assert_eq!(check(&["demo", "--payment-port", "5004"]), Ok(()));
    let error = check(&["demo", "--payment-port", "5001"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "--payment-port is '5001', the same as --order-port; it takes a port of its own"
    );
}

#[test]
fn a_key_must_be_kept_for_at_least_the_recovery_bound() {
    let check = |ttl: &str, bound: &str| {
        let flags = [
            "--idempotency-key-ttl-seconds",
            ttl,
            "--recovery-bound-seconds",
            bound,
        ];
        check(&[&SERVICE[..], &flags].concat())
    };
    assert_eq!(check("3600", "3600"), Ok(()));
    let error = check("3599", "3600").unwrap_err().to_string();
    assert!(
        error.starts_with("IDEMPOTENCY_KEY_TTL_SECONDS") && error.contains("'3599'"),
        "{error}"
    );
}

#[test]
fn variables_with_a_secret_name_are_secrets() {
    let command = Cli::command();
    for arg in all_args(&command) {
        let Some(name) = arg.get_env().and_then(|name| name.to_str()) else {
            assert!(!is_secret(arg), "{arg} is a secret without a variable");
            continue;
        };
        let is_named_so = ["TOKEN", "DATABASE_URL", "PASSWORD", "SECRET"]
            .iter()
            .any(|word| name.contains(word));
        assert_eq!(is_secret(arg), is_named_so, "{name}");
    }
}

#[test]
fn errors_never_show_secrets() {
    let database = line(&[
        "order",
        "--database-url",
        "postgres://u:hunter2@h/db?sslmode=maybe",
    ]);
    assert!(
        database.contains("postgres://u:***@h/db?sslmode=maybe"),
        "{database}"
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
        let line = line(misplaced);
        assert!(!line.contains("hunter2"), "{line}");
    }
    for (flag, name) in [
        ("--gremlin-token", "GREMLIN_TOKEN"),
        ("--service-token", "SERVICE_TOKEN"),
    ] {
        let line = line(&[&SERVICE[..], &[flag, "hunter2 "]].concat());
        assert!(
            line.starts_with(name) && !line.contains("hunter2"),
            "{line}"
        );
    }
    let url = ["--database-url", "postgres://h/db"];
    let inventory = [&["inventory"][..], &url].concat();
    for command in [&inventory[..], &["stock", "list"], &["orders", "list"]] {
        let line = line(&[command, &["--operator-token", "hunter2 "]].concat());
        assert!(
            line.starts_with("OPERATOR_TOKEN") && !line.contains("hunter2"),
            "{line}"
        );
    }
}

/// The command line with the secrets that files hold.
fn with_secrets(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Vec<String>, String> {
    let arguments = arguments.iter().map(OsString::from).collect();
    let variable = |name: &str| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.into())
    };
    let arguments = secret_files::add_flags(arguments, &Cli::command(), variable)
        .map_err(|error| error.to_string())?;
    let texts = arguments.into_iter().map(OsString::into_string);
    Ok(texts.map(Result::unwrap).collect())
}

#[test]
fn a_file_replaces_the_variable_if_the_subcommand_has_it() {
    let file = std::env::temp_dir().join(format!("valerix-secret-{}", std::process::id()));
    std::fs::write(&file, "postgres://u:p@h/db\n").unwrap();
    let path = file.to_str().unwrap();
    let named = [("DATABASE_URL_FILE", path)];
    let flag = "--database-url=postgres://u:p@h/db";
    assert_eq!(
        with_secrets(&["valerix", "order"], &named).unwrap(),
        ["valerix", "order", flag]
    );
    assert_eq!(
        with_secrets(&["valerix", "completions", "bash"], &named).unwrap(),
        ["valerix", "completions", "bash"]
    );
    let with_flag = ["valerix", "audit", "--database-url", "postgres://h/other"];
    assert_eq!(with_secrets(&with_flag, &named).unwrap(), with_flag);
    let both = with_secrets(
        &["valerix", "order"],
        &[("DATABASE_URL_FILE", path), ("DATABASE_URL", "x")],
    );
    assert!(both.unwrap_err().contains("both set"));
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn an_unreadable_file_is_an_error_without_the_secret() {
    let missing = [("DATABASE_URL_FILE", "/nowhere/secret")];
    let missing = with_secrets(&["valerix", "order"], &missing).unwrap_err();
    assert!(
        missing.starts_with("DATABASE_URL_FILE is '/nowhere/secret'; it takes a readable file"),
        "{missing}"
    );
    let misplaced = [("DATABASE_URL_FILE", "postgres://u:hunter2@h/db")];
    let misplaced = with_secrets(&["valerix", "order"], &misplaced).unwrap_err();
    assert!(!misplaced.contains("hunter2"), "{misplaced}");
}
