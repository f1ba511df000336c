//! Starts the roles as processes of their own, for `demo`, `prove` and the tests.

use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;

/// A service drains for at most 5 s; then it is ended.
const STOP_LIMIT: Duration = Duration::from_secs(8);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A process that lived this long was well; the next pause is short again.
const LIVED_WELL: Duration = Duration::from_secs(10);

/// Gets each line that a process prints.
pub type Sink = Arc<dyn Fn(&str) + Send + Sync>;

/// What to start.
#[derive(Clone)]
pub struct Spec {
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
    pub output: Sink,
}

/// A running role. Dropping it ends it: the role sees its standard input close.
pub struct Process {
    child: Child,
    pid: i32,
    _lifeline: Option<ChildStdin>,
}

impl Process {
    /// # Errors
    /// When the program cannot be started.
    pub fn start(spec: &Spec) -> io::Result<Self> {
        let mut command = Command::new(&spec.program);
        command
            .args(&spec.arguments)
            .arg("--supervised")
            .envs(spec.environment.iter().cloned());
        // What is set here was decided here: a file that the supervisor itself has read it from
        // would contradict.
        for (name, _) in &spec.environment {
            command.env_remove(format!("{name}_FILE"));
        }
        // A group of its own: Ctrl-C in the terminal goes to the supervisor, which stops its
        // processes in order.
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = command.spawn()?;
        if let Some(stdout) = child.stdout.take() {
            tokio::spawn(pass_on(stdout, Arc::clone(&spec.output)));
        }
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(pass_on(stderr, Arc::clone(&spec.output)));
        }
        let pid = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .ok_or_else(|| io::Error::other("no process id"))?;
        let lifeline = child.stdin.take();
        Ok(Self {
            child,
            pid,
            _lifeline: lifeline,
        })
    }

    #[must_use]
    pub const fn pid(&self) -> i32 {
        self.pid
    }

    pub fn signal(&self, signal: Signal) {
        if self.child.id().is_none() {
            // It was waited for: its number may belong to another process by now.
            return;
        }
        // It may have ended by itself in the meantime.
        let _ = signal::kill(Pid::from_raw(self.pid), signal);
    }

    /// # Errors
    /// When the process cannot be waited for.
    pub async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Whether it has ended by itself.
    ///
    /// # Errors
    /// When the process cannot be waited for.
    pub fn has_ended(&mut self) -> io::Result<bool> {
        self.child.try_wait().map(|status| status.is_some())
    }

    /// Ends it at once, without a chance to finish anything.
    ///
    /// # Errors
    /// When the process cannot be waited for.
    pub async fn kill(&mut self) -> io::Result<ExitStatus> {
        self.signal(Signal::SIGKILL);
        self.ended().await
    }

    /// Asks it to stop, and ends it if it does not within [`STOP_LIMIT`].
    ///
    /// # Errors
    /// When the process cannot be waited for.
    pub async fn stop(&mut self) -> io::Result<ExitStatus> {
        self.signal(Signal::SIGTERM);
        // A campaign that is interrupted may have stopped it with SIGSTOP.
        self.signal(Signal::SIGCONT);
        match tokio::time::timeout(STOP_LIMIT, self.ended()).await {
            Ok(status) => status,
            Err(_) => self.kill().await,
        }
    }
}

async fn pass_on(stream: impl AsyncRead + Unpin, output: Sink) {
    // A line need not be UTF-8. Reading must go on whatever comes: a full pipe would block the
    // process.
    let mut lines = BufReader::new(stream).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        output(&String::from_utf8_lossy(&line));
    }
}

async fn told_to(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Keeps a role running until told to stop: one that ends is started again after a pause, which
/// grows while it keeps ending early. A role that cannot start because of its configuration (exit
/// code 2) is given up.
///
/// # Errors
/// When the program cannot be started at all, or refuses its configuration.
pub async fn keep_running(
    spec: Spec,
    mut stop: watch::Receiver<bool>,
    started: impl Fn(i32),
) -> io::Result<()> {
    let mut pause = FIRST_PAUSE;
    loop {
        let mut process = Process::start(&spec)?;
        let since = Instant::now();
        started(process.pid());
        let status = tokio::select! {
            status = process.ended() => status?,
            () = told_to(&mut stop) => return process.stop().await.map(drop),
        };
        if status.code() == Some(2) {
            return Err(io::Error::other("it refused its configuration"));
        }
        pause = if since.elapsed() >= LIVED_WELL {
            FIRST_PAUSE
        } else {
            pause
        };
        (spec.output)(&format!(
            "ended ({status}); starting again in {} ms",
            pause.as_millis()
        ));
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
            () = told_to(&mut stop) => return Ok(()),
        }
    }
}
