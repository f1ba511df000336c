//! A directory for the files of one run, removed with it.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::testbed::postgres::temporary_home;

/// A directory below the temporary directory, with a name that nobody can guess. Dropping it
/// removes it.
#[derive(Debug)]
pub struct ScratchDir(PathBuf);

impl ScratchDir {
    /// # Errors
    /// When it cannot be made.
    pub fn create(purpose: &str) -> io::Result<Self> {
        Ok(Self(temporary_home(purpose)?))
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            crate::platform::output::complain(format_args!(
                "cannot remove {}: {error}",
                self.0.display()
            ));
        }
    }
}
