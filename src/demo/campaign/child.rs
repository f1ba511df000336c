//! Runs `valerix prove` as a child process.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};

use super::request::CampaignRequest;
use crate::platform::environment::variable;
use crate::testbed::postgres::BIN_DIR_VARIABLE;

/// The fewest kills with which each kind of fault is in the plan.
const KILLS: u32 = 6;
/// A campaign that was asked to stop ends its services and its database first. After this time it
/// is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// The variables that the campaign inherits. Others, such as `GREMLIN_TOKEN` or `DATABASE_URL`,
/// are for the demo's services, and would change those of the campaign.
const INHERITED_VARIABLES: [&str; 9] = [
    BIN_DIR_VARIABLE,
    "HOME",
    "LANG",
    "LD_LIBRARY_PATH",
    "LOGNAME",
    "PATH",
    "TMPDIR",
    "TZ",
    "USER",
];

/// How a campaign ended.
pub enum Ending {
    /// With a verdict, which is in the report.
    Verdict(Value),
    Stopped,
    Failed(String),
}

/// The arguments that decide what happens in the campaign.
pub fn arguments(request: &CampaignRequest) -> Vec<String> {
    let CampaignRequest { seed, orders } = request;
    let arguments = format!("prove --seed {seed} --orders {orders} --kills {KILLS}");
    arguments.split(' ').map(str::to_owned).collect()
}

/// Runs a campaign until it ends. It is asked to stop when `stop` is done. `progress` gets each
/// line of its progress.
///
/// # Errors
/// When the process cannot be started or waited for.
pub async fn run(
    program: &Path,
    arguments: &[String],
    stop: impl Future<Output = ()>,
    mut progress: impl FnMut(Value),
) -> io::Result<Ending> {
    let mut child = start(program, arguments)?;
    // While this is open, the demo lives.
    let stdin = child.stdin.take();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let read_report = async {
        let mut report = Vec::new();
        if let Some(mut stdout) = stdout {
            stdout.read_to_end(&mut report).await?;
        }
        io::Result::Ok(report)
    };
    let read_progress = read_progress(stderr, &mut progress);
    let (report, error, stopped) = tokio::join!(read_report, read_progress, wait(&mut child, stop));
    drop(stdin);
    Ok(match serde_json::from_slice(&report?) {
        Ok(report) => Ending::Verdict(report),
        Err(_) if stopped? => Ending::Stopped,
        Err(_) => Ending::Failed(error?),
    })
}

fn start(program: &Path, arguments: &[String]) -> io::Result<Child> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .args(["--json", "--progress", "json", "--supervised"])
        .env_clear();
    for name in INHERITED_VARIABLES {
        if let Some(value) = variable(name) {
            command.env(name, value);
        }
    }
    // In a process group of its own, the campaign does not get the terminal's Ctrl-C. The demo gets
    // it, and stops the campaign.
    command.process_group(0);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| io::Error::other(format!("cannot start {}: {error}", program.display())))
}

/// Reads until the stream ends. Returns the lines that are no progress: the messages.
async fn read_progress(
    stderr: Option<ChildStderr>,
    progress: &mut impl FnMut(Value),
) -> io::Result<String> {
    let mut messages = Vec::new();
    let Some(stderr) = stderr else {
        return Ok(String::new());
    };
    // A line need not be UTF-8.
    let mut lines = BufReader::new(stderr).split(b'\n');
    while let Some(line) = lines.next_segment().await? {
        if let Ok(value) = serde_json::from_slice(&line) {
            progress(value);
        } else {
            let line = String::from_utf8_lossy(&line);
            messages.push(line.trim_start_matches("valerix: ").to_owned());
        }
    }
    Ok(messages.join(" "))
}

/// Waits for the end of the process. Returns whether it was asked to stop.
async fn wait(child: &mut Child, stop: impl Future<Output = ()>) -> io::Result<bool> {
    tokio::select! {
        status = child.wait() => return status.map(|_| false),
        () = stop => {}
    }
    // The process was not waited for, so its id still belongs to it.
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        // Fails only when the process has just ended.
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
    match tokio::time::timeout(STOP_TIMEOUT, child.wait()).await {
        Ok(status) => status.map(|_| true),
        Err(_) => child.kill().await.map(|()| true),
    }
}
