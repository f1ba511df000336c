//! Secrets from files: `DATABASE_URL_FILE` and its like name a file that holds what the variable
//! would.

use std::ffi::OsString;

use clap::{Arg, CommandFactory};

use super::Cli;
use crate::platform::db::redact;

/// What must not be told, and may come from a file.
pub const SECRETS: [&str; 5] = [
    "DATABASE_URL",
    "INVENTORY_DATABASE_URL",
    "PAYMENT_DATABASE_URL",
    "GREMLIN_TOKEN",
    "SERVICE_TOKEN",
];

/// The command line with the secrets that files hold, as flags of the subcommand that takes them. A
/// flag that was given wins, as over any variable.
///
/// # Errors
/// In one line, when a file cannot be read or the variable itself is set too.
pub fn from_files(
    mut arguments: Vec<OsString>,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Vec<OsString>, String> {
    let command = Cli::command();
    let known = |argument: &OsString| {
        argument
            .to_str()
            .and_then(|name| command.find_subcommand(name))
    };
    let Some((position, subcommand)) = arguments
        .iter()
        .enumerate()
        .find_map(|(position, argument)| Some((position, known(argument)?)))
    else {
        return Ok(arguments);
    };
    let takes = |arg: &&Arg| {
        arg.get_env()
            .is_some_and(|env| SECRETS.iter().any(|secret| env == *secret))
    };
    let mut flags = Vec::new();
    for arg in subcommand.get_arguments().filter(takes) {
        let (Some(env), Some(long)) = (arg.get_env().and_then(|env| env.to_str()), arg.get_long())
        else {
            continue;
        };
        let flag = format!("--{long}");
        let given = |argument: &OsString| {
            argument
                .to_str()
                .is_some_and(|text| text == flag || text.starts_with(&format!("{flag}=")))
        };
        let Some(path) = variable(&format!("{env}_FILE")).filter(|_| !arguments.iter().any(given))
        else {
            continue;
        };
        if variable(env).is_some() {
            return Err(format!(
                "{env} and {env}_FILE are both set; one of them is to go"
            ));
        }
        let text = std::fs::read_to_string(&path).map_err(|error| {
            let path = path.to_string_lossy();
            // Perhaps the secret itself, in the wrong variable.
            let shown = if path.contains("://") {
                redact(&path)
            } else {
                path.into_owned()
            };
            format!("{env}_FILE is '{shown}'; it takes a readable file: {error}")
        })?;
        // Editors leave a line end; white space at the ends of a variable is dropped too.
        flags.push(OsString::from(format!("{flag}={}", text.trim())));
    }
    let rest = arguments.split_off(position + 1);
    Ok(arguments.into_iter().chain(flags).chain(rest).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let arguments = arguments.iter().map(OsString::from).collect();
        let variable = |name: &str| {
            variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value.into())
        };
        let read = from_files(arguments, variable)?;
        Ok(read
            .into_iter()
            .map(|argument| argument.into_string().unwrap())
            .collect())
    }

    #[test]
    fn a_file_stands_in_for_the_variable_where_the_subcommand_takes_it() {
        let file = std::env::temp_dir().join(format!("valerix-secret-{}", std::process::id()));
        std::fs::write(&file, "postgres://u:p@h/db\n").unwrap();
        let path = file.to_str().unwrap();
        let named = [("DATABASE_URL_FILE", path)];
        let flag = "--database-url=postgres://u:p@h/db";
        assert_eq!(
            read(&["valerix", "order"], &named).unwrap(),
            ["valerix", "order", flag]
        );
        assert_eq!(
            read(&["valerix", "completions", "bash"], &named).unwrap(),
            ["valerix", "completions", "bash"]
        );
        let given = ["valerix", "audit", "--database-url", "postgres://h/other"];
        assert_eq!(read(&given, &named).unwrap(), given);
        let both = read(
            &["valerix", "order"],
            &[("DATABASE_URL_FILE", path), ("DATABASE_URL", "x")],
        );
        assert!(both.unwrap_err().contains("both set"));
        std::fs::remove_file(&file).unwrap();
        let gone = read(&["valerix", "order"], &named).unwrap_err();
        assert!(
            gone.starts_with("DATABASE_URL_FILE is '") && gone.contains("readable file"),
            "{gone}"
        );
        let mixed_up = read(
            &["valerix", "order"],
            &[("DATABASE_URL_FILE", "postgres://u:hunter2@h/db")],
        );
        assert!(!mixed_up.unwrap_err().contains("hunter2"));
    }
}
