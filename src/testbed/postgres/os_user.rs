//! Who the server runs as: never root, which it refuses.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use nix::unistd::{Uid, User};

use super::{PostgresError, at, files};

/// Root's stand-in, or nobody special: the user we are.
#[derive(Debug, Clone)]
pub struct Owner(Option<User>);

impl Owner {
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

    /// Makes a command run as the owner.
    pub fn apply(&self, command: &mut tokio::process::Command) {
        if let Some(user) = &self.0 {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
    }

    /// Tries it out: a process of the owner's that begins in the directory.
    pub fn check_reach(&self, directory: &Path) -> Result<(), PostgresError> {
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

    /// Where a link of the owner's processes leads. Root without the right to look into other
    /// users' processes, as in a container, asks in the owner's name.
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

    /// The user that the server runs as.
    pub fn uid(&self) -> Uid {
        self.0.as_ref().map_or_else(Uid::effective, |user| user.uid)
    }

    /// A home is ours, root's or the server's. Whoever owns a directory can replace what is in it.
    pub fn check_home(&self, path: &Path) -> Result<(), PostgresError> {
        let found = fs::symlink_metadata(path).map_err(at(path))?;
        let trusted = [Uid::effective().as_raw(), 0, self.uid().as_raw()];
        if trusted.contains(&found.uid()) {
            return Ok(());
        }
        Err(PostgresError::OthersHome {
            path: path.to_owned(),
            uid: found.uid(),
        })
    }

    /// Makes a directory that only the server may enter. One that is there must be the server's, or
    /// ours.
    pub fn make_private_dir(&self, path: &Path) -> Result<(), PostgresError> {
        files::make_private(path).map_err(at(path))?;
        // From here on by its descriptor: its name may come to mean something else.
        let directory = files::open_dir(path)?;
        let found = directory.metadata().map_err(at(path))?;
        if ![Uid::effective().as_raw(), self.uid().as_raw()].contains(&found.uid()) {
            return Err(PostgresError::NotOurs {
                path: path.to_owned(),
            });
        }
        if let Some(user) = &self.0 {
            let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
            fchown(&directory, Some(uid), Some(gid)).map_err(at(path))?;
        }
        directory
            .set_permissions(fs::Permissions::from_mode(0o700))
            .map_err(at(path))
    }
}
