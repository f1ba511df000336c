//! Why a private server does not run.

use std::io;
use std::path::{Path, PathBuf};

use super::limits::{BIN_DIR_VARIABLE, START_TIMEOUT};
use crate::platform::db::MIN_MAJOR_VERSION;

/// Why there is no database.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    #[error(
        "no PostgreSQL server (version {MIN_MAJOR_VERSION} or newer) is installed; on Debian run \
         'apt-get install postgresql', or set DATABASE_URL to a server that runs elsewhere"
    )]
    NotInstalled,
    #[error(
        "{BIN_DIR_VARIABLE} is '{}', a directory without the server programs of PostgreSQL \
         {MIN_MAJOR_VERSION} or newer",
        .0.display()
    )]
    NotInDirectory(PathBuf),
    #[error(
        "{} belongs to PostgreSQL {found}, but the installed server is {installed}; nothing was \
         changed: install PostgreSQL {found}, choose another --data-dir, or delete the data with \
         --reset",
        .path.display()
    )]
    OtherVersion {
        path: PathBuf,
        found: String,
        installed: u32,
    },
    #[error(
        "PostgreSQL does not run as root, and user {user} cannot reach {}; choose another \
         --data-dir",
        .path.display()
    )]
    Unreachable { path: PathBuf, user: String },
    #[error(
        "PostgreSQL does not run as root, and this machine has neither a user postgres nor a user \
         nobody"
    )]
    NoUser,
    #[error("{what} failed: {cause}")]
    Command { what: &'static str, cause: String },
    #[error(
        "PostgreSQL did not start within {} s; see {}",
        START_TIMEOUT.as_secs(),
        .log.display()
    )]
    NotStarted { log: PathBuf },
    #[error(
        "{} is a symbolic link; nothing was changed: remove it, or choose another --data-dir",
        .path.display()
    )]
    Link { path: PathBuf },
    #[error(
        "{} is not a file or directory of this user; nothing was changed: choose another \
         --data-dir",
        .path.display()
    )]
    NotOurs { path: PathBuf },
    #[error(
        "{} belongs to another user ({uid}), who could replace its contents; choose another \
         --data-dir",
        .path.display()
    )]
    OthersHome { path: PathBuf, uid: u32 },
    #[error("{}: {cause}", .path.display())]
    File { path: PathBuf, cause: io::Error },
}

/// Adds the path to an I/O error.
pub fn file_error(path: &Path) -> impl FnOnce(io::Error) -> PostgresError + '_ {
    move |cause| PostgresError::File {
        path: path.to_owned(),
        cause,
    }
}
