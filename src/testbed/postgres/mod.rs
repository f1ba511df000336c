//! A private PostgreSQL from the server binaries installed on this machine.
//!
//! The server listens on no port, but on a Unix socket in a directory that only the server's user
//! may enter. Its durability settings are PostgreSQL's defaults.

mod binaries;
mod error;
mod files;
mod home;
mod launch;
mod limits;
mod os_user;
mod postmaster;
mod quoting;
mod server;

pub use binaries::Binaries;
pub use error::PostgresError;
pub use files::{temporary_home, temporary_home_in};
pub use home::Home;
pub use limits::BIN_DIR_VARIABLE;
pub use quoting::shell_word;
pub use server::Server;
