//! The directory in which a private server keeps its files.

use std::fs::{self, File, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::{PostgresError, file_error};
use super::files::{self, TEMPORARY_PREFIX};
use super::os_user::OsUser;
use super::postmaster::{self, Postmaster};

/// The path of a Unix socket has at most 107 bytes on Linux, and `/.s.PGSQL.5432` follows the
/// directory.
const MAX_SOCKET_DIR_BYTES: usize = 90;
/// `/valerix-` before the purpose; `-` and the six letters that `mkdtemp` chooses after it.
const TEMPORARY_NAME_BYTES: usize = 16;
const TEMPORARY_SOCKET: &str = "socket";
pub const LOG_FILE: &str = "postgres.log";

/// Holds the data directory, the server's log, and the directory of its socket.
#[derive(Debug, Clone)]
pub struct Home {
    pub(super) root: PathBuf,
    pub(super) user: OsUser,
}

impl Home {
    /// Creates the directory if it does not exist.
    ///
    /// # Errors
    /// When it cannot be created, belongs to another user, or the server's user cannot reach it.
    pub fn open(root: &Path) -> Result<Self, PostgresError> {
        let user = OsUser::find()?;
        // Collecting the components drops a slash at the end, because of which a link would be
        // followed.
        let root = &root.components().collect::<PathBuf>();
        files::make_home(root).map_err(file_error(root))?;
        // If the path is a link, its owner matters as well as the owner of the directory.
        user.check_home(root)?;
        let root = fs::canonicalize(root).map_err(file_error(root))?;
        user.check_home(&root)?;
        user.check_access(&root)?;
        let home = Self { root, user };
        for directory in [home.data(), home.inner_socket_dir()] {
            files::refuse_link(&directory)?;
        }
        Ok(home)
    }

    /// Opens the directory if it exists.
    ///
    /// # Errors
    /// Those of [`Home::open`].
    pub fn open_existing(root: &Path) -> Result<Option<Self>, PostgresError> {
        root.is_dir().then(|| Self::open(root)).transpose()
    }

    /// The URL of a database of the server that runs here, if one does.
    #[must_use]
    pub fn running_url(&self, database: &str) -> Option<String> {
        let running = Postmaster::running(&self.data(), &self.user)?;
        Some(running.url(database))
    }

    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.root.join(LOG_FILE)
    }

    fn inner_socket_dir(&self) -> PathBuf {
        self.root.join("socket")
    }

    /// Creates the directory of the socket: inside the home or, where that path is too long, in the
    /// directory for temporary files.
    pub(super) fn make_socket_dir(&self) -> Result<PathBuf, PostgresError> {
        let inside = self.inner_socket_dir();
        if inside.as_os_str().len() <= MAX_SOCKET_DIR_BYTES {
            self.user.make_private_dir(&inside)?;
            return Ok(inside);
        }
        let parents = [std::env::temp_dir(), PathBuf::from("/tmp")];
        let is_suitable = |parent: &&PathBuf| {
            let length = parent.as_os_str().len() + TEMPORARY_SOCKET.len() + TEMPORARY_NAME_BYTES;
            length <= MAX_SOCKET_DIR_BYTES && self.user.check_access(parent).is_ok()
        };
        let parent = parents.iter().find(is_suitable).unwrap_or(&parents[0]);
        let path = files::temporary_dir(parent, TEMPORARY_SOCKET).map_err(file_error(parent))?;
        self.user.make_private_dir(&path)?;
        Ok(path)
    }

    /// Removes the directory of a socket, if it is outside of the home.
    pub(super) fn remove_temporary_socket_dir(&self, socket_dir: &Path) {
        let name = socket_dir.file_name().unwrap_or_default().as_bytes();
        let prefix = format!("{TEMPORARY_PREFIX}{TEMPORARY_SOCKET}-");
        let is_temporary = name.starts_with(prefix.as_bytes());
        let is_ours = fs::symlink_metadata(socket_dir)
            .is_ok_and(|found| found.is_dir() && found.uid() == self.user.uid().as_raw());
        if is_temporary && is_ours {
            // The directory of a stopped server is empty. One that cannot be removed does no harm.
            let _ = fs::remove_dir_all(socket_dir);
        }
    }

    pub(super) fn remove_stale_socket_dir(&self) {
        if let Some(socket_dir) = postmaster::stale_socket_dir(&self.data(), &self.user) {
            self.remove_temporary_socket_dir(&socket_dir);
        }
    }

    /// Opens a file beside the server's files, which only the present user may write. It is created
    /// if it does not exist.
    ///
    /// # Errors
    /// When it is a link, or belongs to another user.
    pub fn open_file(
        &self,
        name: &str,
        options: &mut OpenOptions,
        mode: u32,
    ) -> Result<File, PostgresError> {
        files::open_own(&self.root.join(name), options, mode)
    }

    /// Removes all databases. A server that still runs here is stopped first.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub async fn reset(&self) -> Result<(), PostgresError> {
        if let Some(postmaster) = Postmaster::running(&self.data(), &self.user) {
            postmaster.stop().await;
            self.remove_temporary_socket_dir(postmaster.socket_dir());
        }
        self.remove_stale_socket_dir();
        for directory in [self.data(), self.unfinished_data(), self.inner_socket_dir()] {
            files::remove(&directory)?;
        }
        Ok(())
    }

    /// Where the data directory is initialised, before it gets its final name.
    pub(super) fn unfinished_data(&self) -> PathBuf {
        self.data().with_extension("new")
    }
}
