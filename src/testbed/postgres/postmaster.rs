//! The running server as its `postmaster.pid` shows it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use tokio::process::Child;

use super::os_user::Owner;
use super::{POLL, PostgresError, START_LIMIT, STOP_LIMIT};

/// A live server process, known to be that of its data directory.
#[derive(Debug, Clone)]
pub struct Postmaster {
    pid: i32,
    data: PathBuf,
    socket_dir: PathBuf,
    owner: Owner,
}

impl Postmaster {
    /// The server that runs on the data directory, if one does.
    pub fn running(data: &Path, owner: &Owner) -> Option<Self> {
        let lines = PidFile::read(data)?;
        let (data, owner) = (data.to_owned(), owner.clone());
        let postmaster = Self {
            pid: lines.pid,
            data,
            socket_dir: lines.socket_dir,
            owner,
        };
        postmaster.is_alive().then_some(postmaster)
    }

    /// A process id may have been given to somebody else since; a server works in its data
    /// directory.
    fn is_alive(&self) -> bool {
        self.works_here(self.pid)
    }

    fn works_here(&self, pid: i32) -> bool {
        self.owner
            .read_link(Path::new(&format!("/proc/{pid}/cwd")))
            .is_some_and(|directory| directory == self.data)
    }

    pub const fn pid(&self) -> i32 {
        self.pid
    }

    pub fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    /// Waits until the server says that it takes connections.
    pub async fn ready(
        self,
        log: &Path,
        mut child: Option<&mut Child>,
    ) -> Result<Self, PostgresError> {
        let started = Instant::now();
        loop {
            match PidFile::read(&self.data) {
                Some(lines) if lines.ready && lines.pid == self.pid => {
                    return Ok(Self {
                        socket_dir: lines.socket_dir,
                        ..self
                    });
                }
                _ => {}
            }
            let ended = match &mut child {
                Some(child) => matches!(child.try_wait(), Ok(Some(_))),
                None => !self.is_alive(),
            };
            if ended || started.elapsed() > START_LIMIT {
                return Err(PostgresError::NotStarted {
                    log: log.to_owned(),
                });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    pub fn signal(&self, signal: Signal) {
        // It may have ended by itself in the meantime, which is what a signal is sent for.
        let _ = signal::kill(Pid::from_raw(self.pid), signal);
    }

    pub async fn gone(&self) {
        while self.is_alive() {
            tokio::time::sleep(POLL).await;
        }
    }

    pub async fn stop(&self) {
        self.signal(Signal::SIGINT);
        if tokio::time::timeout(STOP_LIMIT, self.gone()).await.is_err() {
            self.signal(Signal::SIGQUIT);
            self.gone().await;
        }
    }

    /// Waits until no process of the server's is left.
    pub async fn orphans_gone(&self) {
        while servers().any(|pid| self.works_here(pid)) {
            tokio::time::sleep(POLL).await;
        }
    }
}

/// Processes that are PostgreSQL's, by their name.
fn servers() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "postgres")
    })
}

/// Removes what a killed server left behind; a live one's files are never touched.
pub fn remove_stale(data: &Path, socket_dir: &Path, owner: &Owner) {
    if Postmaster::running(data, owner).is_none() {
        for file in [
            data.join("postmaster.pid"),
            socket_dir.join(".s.PGSQL.5432.lock"),
            socket_dir.join(".s.PGSQL.5432"),
        ] {
            // Most often there is none.
            let _ = fs::remove_file(file);
        }
    }
}

/// Where the socket of the server that ran last was, if it was killed.
pub fn stale_socket_dir(data: &Path, owner: &Owner) -> Option<PathBuf> {
    let lines = PidFile::read(data)?;
    Postmaster::running(data, owner)
        .is_none()
        .then_some(lines.socket_dir)
}

/// The lines of `postmaster.pid` that matter: 1 process id, 5 socket directory, 8 status.
struct PidFile {
    pid: i32,
    socket_dir: PathBuf,
    ready: bool,
}

impl PidFile {
    fn read(data: &Path) -> Option<Self> {
        let content = fs::read(data.join("postmaster.pid")).ok()?;
        let lines: Vec<_> = content.split(|byte| *byte == b'\n').collect();
        let text = |line: usize| std::str::from_utf8(lines.get(line)?).ok().map(str::trim);
        Some(Self {
            pid: text(0)?.parse().ok()?,
            socket_dir: OsStr::from_bytes(lines.get(4).copied().unwrap_or_default()).into(),
            ready: text(7) == Some("ready"),
        })
    }
}
