//! The directory of the private database, and the lock that only one demo at a time holds.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::Path;

use super::config::Config;
use super::error::DemoError;
use crate::platform::db::DatabaseUrl;
use crate::platform::output;
use crate::testbed::postgres::{Home, PostgresError};
use crate::testbed::service_kind::ServiceKind;

const DEFAULT_DATA_DIR: &str = ".valerix";
/// Used when this is root, and the server's user cannot reach the default directory.
const DATA_DIR_OF_ROOT: &str = "/var/lib/valerix";
/// The name of the private database.
pub const DATABASE: &str = "valerix";
const LOCK_FILE: &str = "lock";

/// Opens the directory that was asked for, or the default.
fn open_home(data_dir: Option<&Path>) -> Result<Home, PostgresError> {
    if let Some(path) = data_dir {
        return Home::open(path);
    }
    match Home::open(Path::new(DEFAULT_DATA_DIR)) {
        Err(PostgresError::Unreachable { path, user }) => {
            let path = path.display();
            output::print_line(format_args!(
                "user {user} cannot reach {path}; the data is kept in {DATA_DIR_OF_ROOT}"
            ));
            Home::open(Path::new(DATA_DIR_OF_ROOT))
        }
        outcome => outcome,
    }
}

/// Opens the directory that [`open_home`] would open, if it exists.
fn existing_home(data_dir: Option<&Path>) -> Result<Option<Home>, PostgresError> {
    if let Some(path) = data_dir {
        return Home::open_existing(path);
    }
    match Home::open_existing(Path::new(DEFAULT_DATA_DIR)) {
        Err(PostgresError::Unreachable { .. }) => Home::open_existing(Path::new(DATA_DIR_OF_ROOT)),
        outcome => outcome,
    }
}

/// Returns the URL of a running demo's private database: the demo of `data_dir` or, without it, of
/// the working directory.
///
/// # Errors
/// [`DemoError::NotRunning`] when there is none that this user can see.
pub fn running_database(data_dir: Option<&Path>) -> Result<DatabaseUrl, DemoError> {
    let home = existing_home(data_dir)?;
    let url = home.and_then(|home| home.running_url(DATABASE));
    let url = url.and_then(|url| url.parse().ok());
    url.ok_or_else(|| DemoError::NotRunning {
        data_dir: data_dir.unwrap_or(Path::new(DEFAULT_DATA_DIR)).to_owned(),
    })
}

/// A private database's directory, locked until `lock` is dropped, which happens however the demo
/// ends.
pub struct PrivateData {
    pub home: Home,
    pub lock: DataLock,
}

/// The locked file.
pub struct DataLock {
    _file: File,
}

impl PrivateData {
    /// Opens and locks the directory that was asked for, or the default.
    ///
    /// # Errors
    /// [`DemoError::DataInUse`] when another demo holds the lock.
    pub fn open(config: &Config) -> Result<Self, DemoError> {
        let home = open_home(config.data_dir.as_deref())?;
        let lock = lock(&home, config)?;
        Ok(Self { home, lock })
    }
}

/// Locks the directory, and writes this demo's address and process id into the lock file.
fn lock(home: &Home, config: &Config) -> Result<DataLock, DemoError> {
    // A demo of another user must be able to read who holds the lock.
    let mut file = home.open_file(LOCK_FILE, OpenOptions::new().read(true).write(true), 0o644)?;
    if file.try_lock().is_err() {
        let mut holder = String::new();
        file.read_to_string(&mut holder)?;
        return Err(DemoError::DataInUse {
            path: home.root().to_owned(),
            holder: holder.trim().to_owned(),
        });
    }
    file.set_len(0)?;
    file.rewind()?;
    let url = config.addresses().url(ServiceKind::Order);
    writeln!(file, "{url}/ (process {})", std::process::id())?;
    Ok(DataLock { _file: file })
}
