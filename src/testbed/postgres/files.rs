//! Creates and opens files in directories that other users may write to. Another user could have
//! prepared a link there, or a file of their own.
//!
//! A new file has a name that cannot be guessed, or must not exist yet. An existing file is opened
//! without following a link, and used only if it belongs to this user.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::{Uid, mkdtemp};

use super::error::{PostgresError, file_error};

/// If this program runs as root, the server runs as another user. That user must be able to pass
/// through the home, whatever the umask is, but not to list it.
const HOME_MODE: u32 = 0o711;
pub const TEMPORARY_PREFIX: &str = "valerix-";

/// Creates a directory for a server's files in the directory for temporary files. `name` becomes a
/// part of its name.
///
/// # Errors
/// When it cannot be created.
pub fn temporary_home(name: &str) -> io::Result<PathBuf> {
    temporary_home_in(&std::env::temp_dir(), name)
}

/// Creates a directory for a server's files in `parent`.
///
/// # Errors
/// When it cannot be created.
pub fn temporary_home_in(parent: &Path, name: &str) -> io::Result<PathBuf> {
    let path = temporary_dir(parent, name)?;
    fs::set_permissions(&path, Permissions::from_mode(HOME_MODE))?;
    Ok(path)
}

/// Creates a directory that only this user may enter, with a name that cannot be guessed.
pub fn temporary_dir(parent: &Path, name: &str) -> io::Result<PathBuf> {
    let parent = fs::canonicalize(parent)?;
    Ok(mkdtemp(
        &parent.join(format!("{TEMPORARY_PREFIX}{name}-XXXXXX")),
    )?)
}

/// Creates a home and its missing parents. An existing directory keeps its permissions.
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

/// Creates a directory that only this user may enter, unless something of that name exists.
pub fn make_private(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        created => created,
    }
}

/// Opens a directory, without following a link.
pub fn open_dir(path: &Path) -> Result<File, PostgresError> {
    refuse_link(path)?;
    let flags = OFlag::O_NOFOLLOW | OFlag::O_DIRECTORY;
    OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(path)
        .map_err(file_error(path))
}

/// Opens a file of this user, and creates it if it does not exist.
///
/// # Errors
/// When the path is a link or not a regular file, or the file belongs to another user or has a
/// second name.
pub fn open_own(path: &Path, options: &mut OpenOptions, mode: u32) -> Result<File, PostgresError> {
    refuse_link(path)?;
    // Without `O_NONBLOCK`, opening a named pipe could block for ever.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = options
        .create(true)
        .mode(mode)
        .custom_flags(flags.bits())
        .open(path)
        .map_err(file_error(path))?;
    let found = file.metadata().map_err(file_error(path))?;
    let is_ours = found.is_file() && found.uid() == Uid::effective().as_raw() && found.nlink() == 1;
    if !is_ours {
        return Err(PostgresError::NotOurs {
            path: path.to_owned(),
        });
    }
    // The umask may have removed permissions from a new file, and an existing file may have been
    // created with another mode.
    file.set_permissions(Permissions::from_mode(mode))
        .map_err(file_error(path))?;
    Ok(file)
}

/// Fails for a link with an error that says so. Opening with `O_NOFOLLOW` fails too, but with a
/// system error that is hard to understand.
pub fn refuse_link(path: &Path) -> Result<(), PostgresError> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => Err(PostgresError::Link {
            path: path.to_owned(),
        }),
        _ => Ok(()),
    }
}

/// Removes a directory with its contents, if it exists. Of a link, only the link is removed.
pub fn remove(path: &Path) -> Result<(), PostgresError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file_error(path)(error)),
        _ => Ok(()),
    }
}
