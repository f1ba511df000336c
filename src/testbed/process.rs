//! A service as a child process.

use std::fs::OpenOptions;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use super::environment::Variables;

/// A process that still runs after this time is killed. A service needs at most 5 s to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(8);

/// Receives each line that a process prints.
pub type LineSink = Arc<dyn Fn(&str) + Send + Sync>;

/// Where a process's standard output and standard error go.
#[derive(Clone)]
pub enum Output {
    /// Line by line to a function of this program.
    Lines(LineSink),
    /// Directly to the end of a file, which is created if need be.
    File(PathBuf),
}

/// The program, arguments and environment of a process.
#[derive(Clone)]
pub struct ProcessSpec {
    pub program: PathBuf,
    pub arguments: Vec<String>,
    /// Added to this program's own variables.
    pub environment: Variables,
    pub output: Output,
}

/// A running service. Dropping this value stops it: its standard input closes, which a service
/// started with `--supervised` takes as a request to stop.
pub struct Process {
    child: Child,
    pid: i32,
    _stdin: Option<ChildStdin>,
}

impl Process {
    /// # Errors
    /// When the program cannot be started, or its output file cannot be opened.
    pub fn start(spec: &ProcessSpec) -> io::Result<Self> {
        let mut command = Command::new(&spec.program);
        command
            .args(&spec.arguments)
            .arg("--supervised")
            .envs(spec.environment.iter().cloned());
        // The supervisor may have read a value from a file named by `<NAME>_FILE`. A service that
        // gets both variables refuses them as a contradiction.
        for (name, _) in &spec.environment {
            command.env_remove(format!("{name}_FILE"));
        }
        // In a process group of its own the service does not get the terminal's Ctrl-C. The
        // supervisor gets it, and stops its processes in order.
        command.stdin(Stdio::piped()).process_group(0);
        match &spec.output {
            Output::Lines(_) => command.stdout(Stdio::piped()).stderr(Stdio::piped()),
            Output::File(path) => {
                let file = OpenOptions::new().create(true).append(true).open(path)?;
                command.stdout(file.try_clone()?).stderr(file)
            }
        };
        let mut child = command.spawn()?;
        if let Output::Lines(sink) = &spec.output {
            if let Some(stdout) = child.stdout.take() {
                tokio::spawn(forward_lines(stdout, Arc::clone(sink)));
            }
            if let Some(stderr) = child.stderr.take() {
                tokio::spawn(forward_lines(stderr, Arc::clone(sink)));
            }
        }
        let pid = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .ok_or_else(|| io::Error::other("no process id"))?;
        let stdin = child.stdin.take();
        Ok(Self {
            child,
            pid,
            _stdin: stdin,
        })
    }

    #[must_use]
    pub const fn pid(&self) -> i32 {
        self.pid
    }

    /// Sends a signal, unless the process is known to have ended.
    pub fn signal(&self, signal: Signal) {
        if self.child.id().is_none() {
            // The process was waited for, so the system may have given its id to another process.
            return;
        }
        // Fails only when the process has just ended.
        let _ = signal::kill(Pid::from_raw(self.pid), signal);
    }

    /// Waits until the process has ended.
    ///
    /// # Errors
    /// When the process cannot be waited for.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// # Errors
    /// When the process cannot be waited for.
    pub fn has_ended(&mut self) -> io::Result<bool> {
        self.child.try_wait().map(|status| status.is_some())
    }

    /// Kills the process with SIGKILL, and waits for its end.
    ///
    /// # Errors
    /// When the process cannot be waited for.
    pub async fn kill(&mut self) -> io::Result<ExitStatus> {
        self.signal(Signal::SIGKILL);
        self.wait().await
    }

    /// Asks the process to stop with SIGTERM, and kills it when it still runs after 8 s.
    ///
    /// # Errors
    /// When the process cannot be waited for.
    pub async fn stop(&mut self) -> io::Result<ExitStatus> {
        self.signal(Signal::SIGTERM);
        // A campaign that is interrupted may have paused the process with SIGSTOP.
        self.signal(Signal::SIGCONT);
        match tokio::time::timeout(STOP_TIMEOUT, self.wait()).await {
            Ok(status) => status,
            Err(_) => self.kill().await,
        }
    }
}

/// Reads until the stream ends, whatever it contains: a full pipe would block the process. A line
/// need not be UTF-8.
async fn forward_lines(stream: impl AsyncRead + Unpin, sink: LineSink) {
    let mut lines = BufReader::new(stream).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        sink(&String::from_utf8_lossy(&line));
    }
}
