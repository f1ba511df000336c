//! A private PostgreSQL from the server binaries installed on this machine: for `demo`, `prove` and
//! the tests.
//!
//! It listens on a socket in a directory that only its owner may enter, and on no port. Its
//! durability is not touched.

mod binaries;
mod files;
mod os_user;
mod postmaster;

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use tokio::process::{Child, Command};

pub use binaries::{Binaries, OLDEST_MAJOR};
use files::TEMPORARY_PREFIX;
pub use files::{temporary_home, temporary_home_in};
use os_user::Owner;
use postmaster::Postmaster;

/// Socket addresses are limited to 107 bytes on Linux; `/.s.PGSQL.5432` comes behind the directory.
const MAX_SOCKET_DIR_BYTES: usize = 90;
const TEMPORARY_SOCKET: &str = "socket";
const LOG: &str = "postgres.log";
const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(5);

/// Why there is no database.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    #[error(
        "no PostgreSQL server (version {OLDEST_MAJOR} or newer) is installed: on Debian run \
         'apt-get install postgresql', or set DATABASE_URL to one that runs elsewhere"
    )]
    NotInstalled,
    #[error("{} belongs to PostgreSQL {found}, but the installed server is {installed}; nothing was touched: \
             install PostgreSQL {found}, choose another --data-dir, or begin anew with --reset", .path.display())]
    OtherVersion {
        path: PathBuf,
        found: String,
        installed: u32,
    },
    #[error("PostgreSQL does not run as root, and user {user} cannot reach {}; choose another --data-dir", .path.display())]
    Unreachable { path: PathBuf, user: String },
    #[error(
        "PostgreSQL does not run as root, and this machine has neither a user postgres nor nobody"
    )]
    NoUser,
    #[error("{what} failed: {cause}")]
    Command { what: &'static str, cause: String },
    #[error("PostgreSQL did not start within {} s; see {}", START_LIMIT.as_secs(), .log.display())]
    NotStarted { log: PathBuf },
    #[error("{} is a symbolic link; nothing was done: remove it, or choose another --data-dir", .path.display())]
    Link { path: PathBuf },
    #[error("{} is not a file or directory of our own; nothing was done: choose another --data-dir", .path.display())]
    NotOurs { path: PathBuf },
    #[error("{} belongs to another user ({uid}), who could replace what is in it; choose another --data-dir", .path.display())]
    OthersHome { path: PathBuf, uid: u32 },
    #[error("{}: {cause}", .path.display())]
    File { path: PathBuf, cause: io::Error },
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> PostgresError + '_ {
    move |cause| PostgresError::File {
        path: path.to_owned(),
        cause,
    }
}

/// Where a private server keeps its files.
#[derive(Debug, Clone)]
pub struct Home {
    root: PathBuf,
    owner: Owner,
}

impl Home {
    /// Makes the directory if need be.
    ///
    /// # Errors
    /// When it cannot be made, or the server's user cannot reach it.
    pub fn open(root: &Path) -> Result<Self, PostgresError> {
        let owner = Owner::find()?;
        // Without a slash at its end, by which a link would be followed.
        let root = &root.components().collect::<PathBuf>();
        files::make_home(root).map_err(at(root))?;
        // A link too: another user may have put it there.
        owner.check_home(root)?;
        let root = fs::canonicalize(root).map_err(at(root))?;
        owner.check_home(&root)?;
        owner.check_reach(&root)?;
        let home = Self { root, owner };
        for directory in [home.data(), home.inner_socket_dir()] {
            files::refuse_link(&directory)?;
        }
        Ok(home)
    }

    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.root.join(LOG)
    }

    fn inner_socket_dir(&self) -> PathBuf {
        self.root.join("socket")
    }

    /// Makes the directory of the socket: inside the home, or under a name of its own in the
    /// directory for temporary files where that path would be too long.
    fn make_socket_dir(&self) -> Result<PathBuf, PostgresError> {
        let inside = self.inner_socket_dir();
        if inside.as_os_str().len() <= MAX_SOCKET_DIR_BYTES {
            self.owner.make_private_dir(&inside)?;
            return Ok(inside);
        }
        let parents = [std::env::temp_dir(), PathBuf::from("/tmp")];
        let suits = |parent: &&PathBuf| {
            parent.as_os_str().len() + TEMPORARY_SOCKET.len() + 16 <= MAX_SOCKET_DIR_BYTES
                && self.owner.check_reach(parent).is_ok()
        };
        let parent = parents.iter().find(suits).unwrap_or(&parents[0]);
        let path = files::temporary_dir(parent, TEMPORARY_SOCKET).map_err(at(parent))?;
        self.owner.make_private_dir(&path)?;
        Ok(path)
    }

    /// Removes a directory of the socket that stands outside the home.
    fn remove_temporary(&self, socket_dir: &Path) {
        let name = socket_dir.file_name().unwrap_or_default().as_bytes();
        let prefix = format!("{TEMPORARY_PREFIX}{TEMPORARY_SOCKET}-");
        let is_temporary = name.starts_with(prefix.as_bytes());
        let is_ours = fs::symlink_metadata(socket_dir)
            .is_ok_and(|found| found.is_dir() && found.uid() == self.owner.uid().as_raw());
        if is_temporary && is_ours {
            // It is empty, or soon will be; what stays does no harm.
            let _ = fs::remove_dir_all(socket_dir);
        }
    }

    fn remove_stale_socket_dir(&self) {
        if let Some(socket_dir) = postmaster::stale_socket_dir(&self.data(), &self.owner) {
            self.remove_temporary(&socket_dir);
        }
    }

    /// Opens a file beside the server's, for us alone to write.
    ///
    /// # Errors
    /// When it is a link, or not ours.
    pub fn open_file(
        &self,
        name: &str,
        options: &mut OpenOptions,
        mode: u32,
    ) -> Result<File, PostgresError> {
        files::open_own(&self.root.join(name), options, mode)
    }

    /// Forgets everything that was stored. A server that still runs here is stopped first.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub async fn reset(&self) -> Result<(), PostgresError> {
        if let Some(postmaster) = Postmaster::running(&self.data(), &self.owner) {
            postmaster.stop().await;
            self.remove_temporary(postmaster.socket_dir());
        }
        self.remove_stale_socket_dir();
        for directory in [
            self.data(),
            self.data().with_extension("new"),
            self.inner_socket_dir(),
        ] {
            files::remove(&directory)?;
        }
        Ok(())
    }
}

/// A running private server.
pub struct Server {
    home: Home,
    binaries: Binaries,
    settings: Vec<String>,
    postmaster: Postmaster,
    /// Absent where the server was taken over from a parent that died.
    child: Option<ServerProcess>,
}

/// The process of a server that this process started. When it is dropped, after an error or a
/// panic, the server is asked to stop.
struct ServerProcess(Child);

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // A process that was waited for has no number any more.
        if let Some(pid) = self.0.id().and_then(|pid| i32::try_from(pid).ok()) {
            // It may have ended meanwhile.
            let _ = signal::kill(Pid::from_raw(pid), Signal::SIGINT);
        }
    }
}

impl Server {
    /// Starts the server, initialising its files when there are none; takes over one that still
    /// runs there. `settings` are `name=value` pairs of `postgresql.conf`.
    ///
    /// # Errors
    /// See [`PostgresError`].
    pub async fn start(home: Home, settings: Vec<String>) -> Result<Self, PostgresError> {
        let binaries = Binaries::find()?;
        let data = home.data();
        if data.join("PG_VERSION").exists() {
            check_version(&data, binaries.major)?;
        } else {
            initialise(&home, &binaries).await?;
        }
        if let Some(postmaster) = Postmaster::running(&data, &home.owner) {
            let postmaster = postmaster.ready(&home.log(), None).await?;
            return Ok(Self {
                home,
                binaries,
                settings,
                postmaster,
                child: None,
            });
        }
        home.remove_stale_socket_dir();
        let socket_dir = home.make_socket_dir()?;
        let (postmaster, child) = launch(&home, &binaries, &settings, &socket_dir).await?;
        Ok(Self {
            home,
            binaries,
            settings,
            postmaster,
            child: Some(child),
        })
    }

    /// Whether it ran before us, left behind by a parent that was killed.
    #[must_use]
    pub fn was_taken_over(&self) -> bool {
        self.child.is_none()
    }

    #[must_use]
    pub fn major(&self) -> u32 {
        self.binaries.major
    }

    /// Address of one of its databases.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let socket_dir = self.postmaster.socket_dir().as_os_str().as_bytes();
        format!(
            "postgres://postgres@{}/{database}",
            percent_encode(socket_dir, NON_ALPHANUMERIC)
        )
    }

    /// How `psql` reaches it.
    #[must_use]
    pub fn psql(&self, database: &str) -> String {
        format!(
            "psql -h {} -U postgres {database}",
            in_shell(self.postmaster.socket_dir())
        )
    }

    /// Makes the database if it does not exist.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn ensure_database(&self, name: &str) -> Result<(), PostgresError> {
        let failed = |error: tokio_postgres::Error| PostgresError::Command {
            what: "creating the database",
            cause: error.to_string(),
        };
        let (client, connection) =
            tokio_postgres::connect(&self.url("postgres"), tokio_postgres::NoTls)
                .await
                .map_err(failed)?;
        let driver = tokio::spawn(connection);
        let exists = client
            .query_opt("SELECT 1 FROM pg_database WHERE datname = $1", &[&name])
            .await
            .map_err(failed)?;
        if exists.is_none() {
            client
                .batch_execute(&format!("CREATE DATABASE \"{name}\""))
                .await
                .map_err(failed)?;
        }
        drop(client);
        let _ = driver.await;
        Ok(())
    }

    /// Returns when the server has ended, by whatever cause.
    pub async fn ended(&mut self) {
        match &mut self.child {
            Some(ServerProcess(child)) => drop(child.wait().await),
            None => self.postmaster.gone().await,
        }
    }

    /// Starts it again after it has ended.
    ///
    /// # Errors
    /// See [`PostgresError`].
    pub async fn restart(&mut self) -> Result<(), PostgresError> {
        // A killed server's helpers live on for a moment, and hold what the new one needs.
        self.postmaster.orphans_gone().await;
        // Where it was: clients have the address.
        let socket_dir = self.postmaster.socket_dir().to_owned();
        self.home.owner.make_private_dir(&socket_dir)?;
        let (postmaster, child) =
            launch(&self.home, &self.binaries, &self.settings, &socket_dir).await?;
        self.postmaster = postmaster;
        self.child = Some(child);
        Ok(())
    }

    /// Ends it as a power cut would, for tests of what survives.
    pub async fn kill(&mut self) {
        self.postmaster.signal(Signal::SIGKILL);
        self.ended().await;
    }

    /// Stops it: open sessions are ended, what is committed is safe. Bounded in time.
    pub async fn stop(&mut self) {
        // Looked up again: a restart that was interrupted may have left a newer one.
        if let Some(postmaster) = Postmaster::running(&self.home.data(), &self.home.owner) {
            postmaster.signal(Signal::SIGINT);
            if tokio::time::timeout(STOP_LIMIT, postmaster.gone())
                .await
                .is_err()
            {
                postmaster.signal(Signal::SIGQUIT);
                postmaster.gone().await;
            }
        }
        self.ended().await;
        self.postmaster.orphans_gone().await;
        self.home.remove_temporary(self.postmaster.socket_dir());
    }

    #[must_use]
    pub fn pid(&self) -> i32 {
        self.postmaster.pid()
    }
}

fn check_version(data: &Path, installed: u32) -> Result<(), PostgresError> {
    let file = data.join("PG_VERSION");
    let found = fs::read_to_string(&file)
        .map_err(at(&file))?
        .trim()
        .to_owned();
    if found == installed.to_string() {
        Ok(())
    } else {
        Err(PostgresError::OtherVersion {
            path: data.to_owned(),
            found,
            installed,
        })
    }
}

/// In a directory of another name first, so that an interrupted start never looks like a finished
/// one.
async fn initialise(home: &Home, binaries: &Binaries) -> Result<(), PostgresError> {
    let unfinished = home.data().with_extension("new");
    files::remove(&unfinished)?;
    home.owner.make_private_dir(&unfinished)?;
    let mut command = Command::new(binaries.path("initdb"));
    command.arg("-D").arg(&unfinished);
    command.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"]);
    // A group of its own: Ctrl-C must not break it off half-way. It takes some seconds.
    home.owner.apply(
        command
            .current_dir(&home.root)
            .stdin(Stdio::null())
            .process_group(0)
            .kill_on_drop(true),
    );
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
    fs::rename(&unfinished, home.data()).map_err(at(&unfinished))
}

async fn launch(
    home: &Home,
    binaries: &Binaries,
    settings: &[String],
    socket_dir: &Path,
) -> Result<(Postmaster, ServerProcess), PostgresError> {
    postmaster::remove_stale(&home.data(), socket_dir, &home.owner);
    let log = home.log();
    // It holds statements, and what they were about.
    let output = home.open_file(LOG, OpenOptions::new().append(true), 0o600)?;
    let errors = output.try_clone().map_err(at(&log))?;
    let mut command = Command::new(binaries.path("postgres"));
    command
        .arg("-D")
        .arg(home.data())
        .arg("-k")
        .arg(in_list(socket_dir));
    command.args([
        "-p",
        "5432",
        "-c",
        "listen_addresses=",
        "-c",
        "logging_collector=off",
        "-c",
        "lc_messages=C",
    ]);
    for setting in settings {
        command.arg("-c").arg(setting);
    }
    // A group of its own: a Ctrl-C in the terminal must not stop the database before those who use
    // it.
    command
        .current_dir(&home.root)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .process_group(0);
    home.owner.apply(&mut command);
    let child = command.spawn().map_err(|error| PostgresError::Command {
        what: "postgres",
        cause: error.to_string(),
    })?;
    let mut process = ServerProcess(child);
    let started = Instant::now();
    loop {
        if let Some(postmaster) = Postmaster::running(&home.data(), &home.owner) {
            return Ok((postmaster.ready(&log, Some(&mut process.0)).await?, process));
        }
        if started.elapsed() > START_LIMIT || matches!(process.0.try_wait(), Ok(Some(_))) {
            return Err(PostgresError::NotStarted { log });
        }
        tokio::time::sleep(POLL).await;
    }
}

/// As one element of a list, where a comma would separate two.
fn in_list(path: &Path) -> OsString {
    quoted(path, b'"', b"\"\"")
}

/// As one word for a shell.
fn in_shell(path: &Path) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-".contains(byte);
    if path.as_os_str().as_bytes().iter().all(is_plain) {
        return path.display().to_string();
    }
    quoted(path, b'\'', b"'\\''").to_string_lossy().into_owned()
}

fn quoted(path: &Path, quote: u8, inner_quote: &[u8]) -> OsString {
    let mut quoted = vec![quote];
    for byte in path.as_os_str().as_bytes() {
        if *byte == quote {
            quoted.extend(inner_quote)
        } else {
            quoted.push(*byte)
        }
    }
    quoted.push(quote);
    OsString::from_vec(quoted)
}
