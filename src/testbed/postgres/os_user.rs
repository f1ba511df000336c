//! The operating system's user that the server runs as. PostgreSQL refuses to run as root.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use nix::unistd::{Uid, User};

use super::error::{PostgresError, file_error};
use super::files;

/// `None`: the server runs as the present user, which is not root.
#[derive(Debug, Clone)]
pub struct OsUser(Option<User>);

impl OsUser {
    /// The present user; for root, the user `postgres` or else `nobody`.
    ///
    /// # Errors
    /// When this is root, and neither user exists.
    pub fn find() -> Result<Self, PostgresError> {
        if !Uid::effective().is_root() {
            return Ok(Self(None));
        }
        let named = |name| User::from_name(name).ok().flatten();
        named("postgres")
            .or_else(|| named("nobody"))
            .map(|user| Self(Some(user)))
            .ok_or(PostgresError::NoUser)
    }

    /// Makes a command run as this user.
    pub fn apply_to(&self, command: &mut tokio::process::Command) {
        if let Some(user) = &self.0 {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
    }

    /// Tests whether a process of this user can have the directory as its working directory.
    ///
    /// # Errors
    /// [`PostgresError::Unreachable`] when it cannot.
    pub fn check_access(&self, directory: &Path) -> Result<(), PostgresError> {
        let Some(user) = &self.0 else { return Ok(()) };
        let mut probe = std::process::Command::new("/bin/true");
        probe
            .current_dir(directory)
            .uid(user.uid.as_raw())
            .gid(user.gid.as_raw());
        match probe.status() {
            Ok(_) => Ok(()),
            Err(_) => Err(PostgresError::Unreachable {
                path: directory.to_owned(),
                user: user.name.clone(),
            }),
        }
    }

    /// Reads a link in `/proc/<pid>` of a process of this user. Root without the capability to
    /// inspect other users' processes, as in a container, reads it with a command that runs as this
    /// user.
    pub fn read_link(&self, link: &Path) -> Option<PathBuf> {
        match (fs::read_link(link), &self.0) {
            (Ok(target), _) => Some(target),
            (Err(error), Some(user)) if error.kind() == io::ErrorKind::PermissionDenied => {
                let mut readlink = std::process::Command::new("readlink");
                readlink
                    .arg(link)
                    .uid(user.uid.as_raw())
                    .gid(user.gid.as_raw())
                    .current_dir("/");
                let output = readlink.output().ok()?;
                let target = output.stdout.strip_suffix(b"\n")?;
                Some(PathBuf::from(OsStr::from_bytes(target)))
            }
            (Err(_), _) => None,
        }
    }

    pub fn uid(&self) -> Uid {
        self.0.as_ref().map_or_else(Uid::effective, |user| user.uid)
    }

    /// Checks that a home belongs to the present user, to root or to this user: the owner of a
    /// directory can replace its contents.
    pub fn check_home(&self, path: &Path) -> Result<(), PostgresError> {
        let found = fs::symlink_metadata(path).map_err(file_error(path))?;
        let trusted = [Uid::effective().as_raw(), 0, self.uid().as_raw()];
        if trusted.contains(&found.uid()) {
            return Ok(());
        }
        Err(PostgresError::OthersHome {
            path: path.to_owned(),
            uid: found.uid(),
        })
    }

    /// Creates a directory that only this user may enter. An existing directory must belong to the
    /// present user or to this user.
    pub fn make_private_dir(&self, path: &Path) -> Result<(), PostgresError> {
        files::make_private(path).map_err(file_error(path))?;
        // From here on the descriptor is used, because another user could replace what the name
        // refers to.
        let directory = files::open_dir(path)?;
        let found = directory.metadata().map_err(file_error(path))?;
        if ![Uid::effective().as_raw(), self.uid().as_raw()].contains(&found.uid()) {
            return Err(PostgresError::NotOurs {
                path: path.to_owned(),
            });
        }
        if let Some(user) = &self.0 {
            let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
            fchown(&directory, Some(uid), Some(gid)).map_err(file_error(path))?;
        }
        directory
            .set_permissions(fs::Permissions::from_mode(0o700))
            .map_err(file_error(path))
    }
}
