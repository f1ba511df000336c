//! A directory for the files of one run, removed with it.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::unistd::mkdtemp;

/// A directory below the temporary directory, with a name that nobody can guess. Dropping it removes it.
#[derive(Debug)]
pub struct ScratchDir(PathBuf);

impl ScratchDir {
    /// # Errors
    /// When it cannot be made.
    pub fn create(purpose: &str) -> io::Result<Self> {
        let path = mkdtemp(&std::env::temp_dir().join(format!("valerix-{purpose}-XXXXXX")))?;
        let directory = Self(path);
        // The database server of root runs as another user, who must be able to reach its files in here.
        fs::set_permissions(&directory.0, Permissions::from_mode(0o711))?;
        Ok(directory)
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            crate::platform::output::complain(format_args!("cannot remove {}: {error}", self.0.display()));
        }
    }
}
