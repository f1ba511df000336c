//! Files and directories in places where other users may have prepared something: a link, or a file
//! of their own.
//!
//! What is made has a name that nobody could guess, or must not be there yet. What is there already
//! is opened without following a link, and used only if it is ours.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::{Uid, mkdtemp};

use super::{PostgresError, at};

/// The server runs as another user where we are root. It may pass through, whatever the umask is,
/// and see nothing.
const HOME_MODE: u32 = 0o711;
pub const TEMPORARY_PREFIX: &str = "valerix-";

/// Makes a directory for a server's files below the directory for temporary files.
///
/// # Errors
/// When none can be made there.
pub fn temporary_home(name: &str) -> io::Result<PathBuf> {
    temporary_home_in(&std::env::temp_dir(), name)
}

/// The same, below another directory.
///
/// # Errors
/// When none can be made there.
pub fn temporary_home_in(parent: &Path, name: &str) -> io::Result<PathBuf> {
    let path = temporary_dir(parent, name)?;
    fs::set_permissions(&path, Permissions::from_mode(HOME_MODE))?;
    Ok(path)
}

/// Makes a directory that is open to us alone, under a name that nobody could guess.
pub fn temporary_dir(parent: &Path, name: &str) -> io::Result<PathBuf> {
    let parent = fs::canonicalize(parent)?;
    Ok(mkdtemp(
        &parent.join(format!("{TEMPORARY_PREFIX}{name}-XXXXXX")),
    )?)
}

/// Makes a home and what is missing above it.
pub fn make_home(path: &Path) -> io::Result<()> {
    if let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty() && !parent.exists())
    {
        make_home(parent)?;
    }
    match fs::create_dir(path) {
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(HOME_MODE)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes a directory that is open to us alone, unless it is there.
pub fn make_private(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Opens a directory itself, not what a link leads to.
pub fn open_dir(path: &Path) -> Result<File, PostgresError> {
    refuse_link(path)?;
    let flags = OFlag::O_NOFOLLOW | OFlag::O_DIRECTORY;
    OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(path)
        .map_err(at(path))
}

/// Opens a file of our own, and makes it when there is none.
///
/// # Errors
/// When it is a link, no regular file, another user's, or has a second name.
pub fn open_own(path: &Path, options: &mut OpenOptions, mode: u32) -> Result<File, PostgresError> {
    refuse_link(path)?;
    // A pipe would not be waited for.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = options
        .create(true)
        .mode(mode)
        .custom_flags(flags.bits())
        .open(path)
        .map_err(at(path))?;
    let found = file.metadata().map_err(at(path))?;
    let is_ours = found.is_file() && found.uid() == Uid::effective().as_raw() && found.nlink() == 1;
    if !is_ours {
        return Err(PostgresError::NotOurs {
            path: path.to_owned(),
        });
    }
    // Whatever the umask is, and whatever an earlier release made of it.
    file.set_permissions(Permissions::from_mode(mode))
        .map_err(at(path))?;
    Ok(file)
}

/// For a clear word: opening refuses it too.
pub fn refuse_link(path: &Path) -> Result<(), PostgresError> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => Err(PostgresError::Link {
            path: path.to_owned(),
        }),
        _ => Ok(()),
    }
}

/// Removes a directory and what is in it, or a link alone. It need not be there.
pub fn remove(path: &Path) -> Result<(), PostgresError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}
