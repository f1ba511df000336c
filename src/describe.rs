//! `valerix describe`: what scripts need to know about the program.
//!
//! Every value is read from the argument or the constant that the program itself uses.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use clap::{Arg, Command};
use serde::Serialize;
use utoipa::Path;

use crate::platform::db;
use crate::platform::http::{health, listener};
use crate::platform::text_table;

/// The parts of the description that come from the command line.
#[derive(Debug)]
pub struct Inputs<'a> {
    pub command: &'a Command,
    pub services: Vec<Service>,
    /// Variables that the program reads, and that no argument has.
    pub variables_without_flag: Vec<String>,
    pub default_database_pool_size: u32,
}

/// The program, as scripts see it. `scripts/kubernetes` reads every field but `settings`.
#[derive(Debug, Serialize)]
pub struct Description {
    pub version: &'static str,
    /// All commands, without clap's own `help`.
    pub commands: Vec<String>,
    pub services: Vec<Service>,
    /// Every environment variable that the program reads, those for tests included.
    pub environment_variables: BTreeSet<String>,
    /// The variables that are arguments of commands, in alphabetical order.
    pub settings: Vec<Setting>,
    /// Connections of one process.
    pub default_database_pool_size: u32,
    pub probes: Probes,
    /// Longest time that requests in progress have after SIGTERM.
    pub drain_timeout_seconds: u64,
    pub min_postgres_major_version: u16,
}

/// A service, and the command that runs it.
#[derive(Debug, Serialize)]
pub struct Service {
    pub command: &'static str,
    /// Its name in metrics, traces and `/health`.
    pub service_name: &'static str,
    pub default_port: u16,
    /// The routes in the OpenAPI document of a service that has its default configuration.
    pub routes: BTreeSet<Route>,
}

/// A path and a method that it takes.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Route {
    pub path: String,
    pub method: String,
}

/// An environment variable, for the commands that have it with the same flag and default value.
#[derive(Debug, Serialize)]
pub struct Setting {
    pub variable: String,
    pub flag: String,
    /// The value without the variable and the flag; `None` if there is no value, or if it depends
    /// on the service or the terminal.
    pub default: Option<String>,
    pub commands: Vec<String>,
}

/// How an orchestrator asks for the state of a service.
#[derive(Debug, Serialize)]
pub struct Probes {
    pub liveness_path: String,
    pub readiness_path: String,
    /// Longest time that the readiness route takes to respond.
    pub readiness_timeout_ms: u64,
}

impl Description {
    #[must_use]
    pub fn new(inputs: Inputs) -> Self {
        let settings = settings_of(inputs.command);
        let of_arguments = settings.iter().map(|setting| setting.variable.clone());
        Self {
            version: env!("CARGO_PKG_VERSION"),
            commands: inputs
                .command
                .get_subcommands()
                .map(|command| command.get_name().to_owned())
                .collect(),
            services: inputs.services,
            environment_variables: of_arguments.chain(inputs.variables_without_flag).collect(),
            settings,
            default_database_pool_size: inputs.default_database_pool_size,
            probes: Probes {
                liveness_path: health::__path_livez::path(),
                readiness_path: health::__path_readyz::path(),
                readiness_timeout_ms: milliseconds(health::CHECK_TIMEOUT),
            },
            drain_timeout_seconds: listener::DRAIN_TIMEOUT_SECONDS,
            min_postgres_major_version: db::MIN_MAJOR_VERSION,
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The settings of all commands. An argument of a nested command counts as one of its command.
fn settings_of(command: &Command) -> Vec<Setting> {
    let mut commands_by_setting: BTreeMap<_, BTreeSet<&str>> = BTreeMap::new();
    for command in command.get_subcommands() {
        for arg in all_args(command) {
            if let Some(setting) = setting_of(arg) {
                let commands = commands_by_setting.entry(setting).or_default();
                commands.insert(command.get_name());
            }
        }
    }
    let settings = commands_by_setting.into_iter();
    let settings = settings.map(|((variable, flag, default), commands)| Setting {
        variable,
        flag,
        default,
        commands: commands.into_iter().map(str::to_owned).collect(),
    });
    settings.collect()
}

fn all_args(command: &Command) -> Vec<&Arg> {
    let nested = command.get_subcommands().flat_map(all_args);
    command.get_arguments().chain(nested).collect()
}

/// Returns the variable, the flag and the default value of an argument that has a variable.
fn setting_of(arg: &Arg) -> Option<(String, String, Option<String>)> {
    let variable = arg.get_env()?.to_string_lossy().into_owned();
    let flag = format!("--{}", arg.get_long()?);
    let defaults = arg.get_default_values().iter();
    let defaults: Vec<_> = defaults.map(|value| value.to_string_lossy()).collect();
    let default = (!defaults.is_empty()).then(|| defaults.join(","));
    Some((variable, flag, default))
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Valerix {}\n", self.version)?;
        writeln!(f, "{:<12} {:<20} default port", "command", "service")?;
        for service in &self.services {
            writeln!(
                f,
                "{:<12} {:<20} {}",
                service.command, service.service_name, service.default_port
            )?;
        }
        writeln!(f, "\nliveness     {}", self.probes.liveness_path)?;
        writeln!(
            f,
            "readiness    {} (responds within {} ms)",
            self.probes.readiness_path, self.probes.readiness_timeout_ms
        )?;
        writeln!(
            f,
            "SIGTERM      requests in progress have {} s to finish",
            self.drain_timeout_seconds
        )?;
        writeln!(
            f,
            "PostgreSQL   {} or newer, {} connections for each process by default\n",
            self.min_postgres_major_version, self.default_database_pool_size
        )?;
        self.write_settings(f)
    }
}

impl Description {
    /// The variables and their default values, grouped by the commands that have them.
    fn write_settings(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut groups: BTreeMap<&[String], Vec<&Setting>> = BTreeMap::new();
        for setting in &self.settings {
            groups.entry(&setting.commands).or_default().push(setting);
        }
        write!(f, "Variables and default values:")?;
        for (commands, settings) in groups {
            write!(f, "\n{}", commands.join(", "))?;
            for Setting {
                variable, default, ..
            } in settings
            {
                let default = default.as_deref().unwrap_or("-");
                let line = format!("  {variable:<38} {default}");
                if line.chars().count() <= text_table::WIDTH {
                    write!(f, "\n{line}")?;
                } else {
                    write!(f, "\n  {variable}\n      {default}")?;
                }
            }
        }
        Ok(())
    }
}
