//! Finds the installed server programs.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::PostgresError;
use super::limits::BIN_DIR_VARIABLE;
use crate::platform::db::MIN_MAJOR_VERSION;
use crate::platform::environment::variable;

/// Debian keeps each version in a directory of its own, outside of the `PATH`.
const DEBIAN_VERSIONS: &str = "/usr/lib/postgresql";

/// The programs of one installed PostgreSQL.
#[derive(Debug, Clone)]
pub struct Binaries {
    directory: PathBuf,
    pub major_version: u32,
}

impl Binaries {
    /// The programs in the directory that `POSTGRES_BIN_DIR` names. If it is not set: the newest
    /// version on the `PATH`, in Debian's directories, and in the directory that `pg_config` names.
    ///
    /// # Errors
    /// When there is no version 15 or newer.
    pub fn find() -> Result<Self, PostgresError> {
        if let Some(directory) = variable(BIN_DIR_VARIABLE).map(PathBuf::from) {
            return Self::usable_in(&directory).ok_or(PostgresError::NotInDirectory(directory));
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
        if let Ok(versions) = std::fs::read_dir(DEBIAN_VERSIONS) {
            directories.extend(versions.flatten().map(|version| version.path().join("bin")));
        }
        if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
            let directory = String::from_utf8_lossy(&output.stdout);
            directories.push(PathBuf::from(directory.trim()));
        }
        directories
            .iter()
            .filter_map(|directory| Self::usable_in(directory))
            .max_by_key(|binaries| binaries.major_version)
            .ok_or(PostgresError::NotInstalled)
    }

    fn usable_in(directory: &Path) -> Option<Self> {
        Self::in_directory(directory)
            .filter(|binaries| binaries.major_version >= u32::from(MIN_MAJOR_VERSION))
    }

    fn in_directory(directory: &Path) -> Option<Self> {
        if !directory.join("initdb").is_file() {
            return None;
        }
        // Such as "postgres (PostgreSQL) 15.18 (Debian …)" or "postgres (PostgreSQL) 18beta1".
        let output = Command::new(directory.join("postgres"))
            .arg("--version")
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let version = text
            .split_whitespace()
            .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
        let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
        Some(Self {
            directory: directory.to_owned(),
            major_version: digits.parse().ok()?,
        })
    }

    /// The path of one of the programs, such as `initdb`.
    #[must_use]
    pub fn path(&self, program: &str) -> PathBuf {
        self.directory.join(program)
    }
}
