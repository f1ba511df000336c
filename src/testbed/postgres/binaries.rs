//! Where the server's programs are.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::PostgresError;

pub const OLDEST_MAJOR: u32 = 15;

/// One installed PostgreSQL.
#[derive(Debug, Clone)]
pub struct Binaries {
    directory: PathBuf,
    pub major: u32,
}

impl Binaries {
    /// On the `PATH`, where Debian puts them, or where `pg_config` says; the newest of those.
    ///
    /// # Errors
    /// When there is none that is new enough.
    pub fn find() -> Result<Self, PostgresError> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
        if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
            directories.extend(versions.flatten().map(|version| version.path().join("bin")));
        }
        if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
            directories.push(PathBuf::from(
                String::from_utf8_lossy(&output.stdout).trim(),
            ));
        }
        let found = directories
            .iter()
            .filter_map(|directory| Self::inside(directory));
        found
            .filter(|binaries| binaries.major >= OLDEST_MAJOR)
            .max_by_key(|binaries| binaries.major)
            .ok_or(PostgresError::NotInstalled)
    }

    fn inside(directory: &Path) -> Option<Self> {
        if !directory.join("initdb").is_file() {
            return None;
        }
        // "postgres (PostgreSQL) 15.18 (Debian …)", "postgres (PostgreSQL) 18beta1"
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
            major: digits.parse().ok()?,
        })
    }

    #[must_use]
    pub fn path(&self, program: &str) -> PathBuf {
        self.directory.join(program)
    }
}
