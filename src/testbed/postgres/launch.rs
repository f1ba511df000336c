//! Initialises a data directory, and starts the server on it.

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use super::binaries::Binaries;
use super::error::{PostgresError, file_error};
use super::files;
use super::home::{Home, LOG_FILE};
use super::limits::{POLL_INTERVAL, START_TIMEOUT};
use super::postmaster::{self, Postmaster};
use super::quoting::list_element;

/// A server's process that this program started. When this value is dropped, after an error or a
/// panic, the server is asked to stop.
pub struct ServerProcess(pub Child);

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // A process that was waited for has no id any more.
        if let Some(pid) = self.0.id().and_then(|id| i32::try_from(id).ok()) {
            // Fails only when the server has just ended.
            let _ = signal::kill(Pid::from_raw(pid), Signal::SIGINT);
        }
    }
}

/// Initialises the data directory, or checks that an existing one fits the installed server.
pub async fn prepare_data(home: &Home, binaries: &Binaries) -> Result<(), PostgresError> {
    let data = home.data();
    if !data.join("PG_VERSION").exists() {
        return initialise(home, binaries).await;
    }
    check_version(&data, binaries.major_version)
}

fn check_version(data: &Path, installed: u32) -> Result<(), PostgresError> {
    let file = data.join("PG_VERSION");
    let content = fs::read_to_string(&file).map_err(file_error(&file))?;
    let found = content.trim();
    if found == installed.to_string() {
        return Ok(());
    }
    Err(PostgresError::OtherVersion {
        path: data.to_owned(),
        found: found.to_owned(),
        installed,
    })
}

/// Works in a directory of another name and renames it at the end, so that an interrupted
/// initialisation never looks like a finished one.
async fn initialise(home: &Home, binaries: &Binaries) -> Result<(), PostgresError> {
    let unfinished = home.unfinished_data();
    files::remove(&unfinished)?;
    home.user.make_private_dir(&unfinished)?;
    let mut command = Command::new(binaries.path("initdb"));
    command.arg("-D").arg(&unfinished);
    command.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"]);
    // In a process group of its own initdb does not get the terminal's Ctrl-C.
    command
        .current_dir(&home.root)
        .stdin(Stdio::null())
        .process_group(0)
        .kill_on_drop(true);
    home.user.apply_to(&mut command);
    let failed = |cause| PostgresError::Command {
        what: "initdb",
        cause,
    };
    let output = command
        .output()
        .await
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(failed(
            text.lines().last().unwrap_or("no reason given").to_owned(),
        ));
    }
    fs::rename(&unfinished, home.data()).map_err(file_error(&unfinished))
}

/// Starts the server, and returns when it accepts connections.
pub async fn launch(
    home: &Home,
    binaries: &Binaries,
    settings: &[String],
    socket_dir: &Path,
) -> Result<(Postmaster, ServerProcess), PostgresError> {
    postmaster::remove_stale(&home.data(), socket_dir, &home.user);
    let log = home.log();
    let mut command = server_command(home, binaries, settings, socket_dir)?;
    let child = command.spawn().map_err(|error| PostgresError::Command {
        what: "postgres",
        cause: error.to_string(),
    })?;
    let mut process = ServerProcess(child);
    let started = Instant::now();
    loop {
        if let Some(postmaster) = Postmaster::running(&home.data(), &home.user) {
            return Ok((postmaster.ready(&log, Some(&mut process.0)).await?, process));
        }
        if started.elapsed() > START_TIMEOUT || matches!(process.0.try_wait(), Ok(Some(_))) {
            return Err(PostgresError::NotStarted { log });
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

fn server_command(
    home: &Home,
    binaries: &Binaries,
    settings: &[String],
    socket_dir: &Path,
) -> Result<Command, PostgresError> {
    // The log contains statements with their values, so other users may not read it.
    let output = home.open_file(LOG_FILE, OpenOptions::new().append(true), 0o600)?;
    let errors = output.try_clone().map_err(file_error(&home.log()))?;
    let mut command = Command::new(binaries.path("postgres"));
    command.arg("-D").arg(home.data());
    command.arg("-k").arg(list_element(socket_dir));
    command.args(["-p", "5432"]);
    for setting in [
        "listen_addresses=",
        "logging_collector=off",
        "lc_messages=C",
    ] {
        command.args(["-c", setting]);
    }
    for setting in settings {
        command.args(["-c", setting]);
    }
    // In a process group of its own the server does not get the terminal's Ctrl-C, which would stop
    // it before its clients.
    command
        .current_dir(&home.root)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .process_group(0);
    home.user.apply_to(&mut command);
    Ok(command)
}
