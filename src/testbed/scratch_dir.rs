//! A directory for the files of one run.

use std::path::{Path, PathBuf};
use std::{fs, io};

use super::postgres::temporary_home;
use crate::platform::output;

/// A directory in the directory for temporary files, with a name that cannot be guessed. It is
/// removed with its contents when this value is dropped.
#[derive(Debug)]
pub struct ScratchDir(PathBuf);

impl ScratchDir {
    /// `purpose` becomes a part of the directory's name.
    ///
    /// # Errors
    /// When the directory cannot be created.
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
            output::print_error(format_args!("cannot remove {}: {error}", self.0.display()));
        }
    }
}
