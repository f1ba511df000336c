//! A running server, found by the `postmaster.pid` in its data directory.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use tokio::process::Child;

use super::error::PostgresError;
use super::limits::{POLL_INTERVAL, START_TIMEOUT, STOP_TIMEOUT};
use super::os_user::OsUser;

/// The server's first process, which starts all others.
#[derive(Debug, Clone)]
pub struct Postmaster {
    pid: i32,
    data: PathBuf,
    socket_dir: PathBuf,
    user: OsUser,
}

impl Postmaster {
    /// The server that runs on the data directory, if there is one.
    pub fn running(data: &Path, user: &OsUser) -> Option<Self> {
        let PidFile {
            pid, socket_dir, ..
        } = PidFile::read(data)?;
        let (data, user) = (data.to_owned(), user.clone());
        let postmaster = Self {
            pid,
            data,
            socket_dir,
            user,
        };
        postmaster.is_alive().then_some(postmaster)
    }

    fn is_alive(&self) -> bool {
        self.works_here(self.pid)
    }

    /// Whether the process has the data directory as its working directory, as all processes of the
    /// server do. The system may have given the id of an ended server to another program.
    fn works_here(&self, pid: i32) -> bool {
        self.user
            .read_link(Path::new(&format!("/proc/{pid}/cwd")))
            .is_some_and(|directory| directory == self.data)
    }

    pub const fn pid(&self) -> i32 {
        self.pid
    }

    pub fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    /// The URL of one of the server's databases.
    pub fn url(&self, database: &str) -> String {
        let socket_dir = self.socket_dir.as_os_str().as_bytes();
        let socket_dir = percent_encode(socket_dir, NON_ALPHANUMERIC);
        format!("postgres://postgres@{socket_dir}/{database}")
    }

    /// Waits until the server accepts connections. `child` is its process where this program
    /// started it.
    ///
    /// # Errors
    /// When the server ends, or the start takes more than 60 s.
    pub async fn ready(
        self,
        log: &Path,
        mut child: Option<&mut Child>,
    ) -> Result<Self, PostgresError> {
        let started = Instant::now();
        loop {
            if let Some(PidFile { socket_dir, .. }) =
                PidFile::read(&self.data).filter(|file| file.is_ready && file.pid == self.pid)
            {
                return Ok(Self { socket_dir, ..self });
            }
            let has_ended = match &mut child {
                Some(child) => matches!(child.try_wait(), Ok(Some(_))),
                None => !self.is_alive(),
            };
            if has_ended || started.elapsed() > START_TIMEOUT {
                return Err(PostgresError::NotStarted {
                    log: log.to_owned(),
                });
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    pub fn signal(&self, signal: Signal) {
        // Fails only when the server has just ended.
        let _ = signal::kill(Pid::from_raw(self.pid), signal);
    }

    /// Waits until the first process has ended.
    pub async fn ended(&self) {
        while self.is_alive() {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Ends open sessions and stops the server. When that takes more than 10 s, the server is
    /// stopped without a checkpoint, which loses no committed data.
    pub async fn stop(&self) {
        self.signal(Signal::SIGINT);
        if tokio::time::timeout(STOP_TIMEOUT, self.ended())
            .await
            .is_err()
        {
            self.signal(Signal::SIGQUIT);
            self.ended().await;
        }
    }

    /// Waits until no process of the server is left. The others outlive a killed first process for
    /// a moment.
    pub async fn all_ended(&self) {
        while postgres_processes().any(|pid| self.works_here(pid)) {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

/// The ids of all processes with the name `postgres`.
fn postgres_processes() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "postgres")
    })
}

/// Removes the files that a killed server left behind. Files of a running server are not touched.
pub fn remove_stale(data: &Path, socket_dir: &Path, user: &OsUser) {
    if Postmaster::running(data, user).is_none() {
        for file in [
            data.join("postmaster.pid"),
            socket_dir.join(".s.PGSQL.5432.lock"),
            socket_dir.join(".s.PGSQL.5432"),
        ] {
            // Usually there is no such file.
            let _ = fs::remove_file(file);
        }
    }
}

/// The directory of the socket of a server that was killed.
pub fn stale_socket_dir(data: &Path, user: &OsUser) -> Option<PathBuf> {
    let PidFile { socket_dir, .. } = PidFile::read(data)?;
    Postmaster::running(data, user)
        .is_none()
        .then_some(socket_dir)
}

/// Line 1 of `postmaster.pid` (process id), line 5 (directory of the socket) and line 8 (status).
struct PidFile {
    pid: i32,
    socket_dir: PathBuf,
    is_ready: bool,
}

impl PidFile {
    fn read(data: &Path) -> Option<Self> {
        let content = fs::read(data.join("postmaster.pid")).ok()?;
        let lines: Vec<_> = content.split(|byte| *byte == b'\n').collect();
        let text = |line: usize| std::str::from_utf8(lines.get(line)?).ok().map(str::trim);
        Some(Self {
            pid: text(0)?.parse().ok()?,
            socket_dir: OsStr::from_bytes(lines.get(4).copied().unwrap_or_default()).into(),
            is_ready: text(7) == Some("ready"),
        })
    }
}
