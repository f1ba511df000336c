//! Why the demo ended early.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::platform::client::BaseUrl;
use crate::platform::db::SchemaError;
use crate::testbed::postgres::PostgresError;
use crate::testbed::service_kind::ServiceKind;

/// The flags by which a user chooses other ports.
pub const PORT_FLAGS: &str = "--order-port, --inventory-port, --payment-port";

#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("cannot listen on {address}: {cause}")]
    Listen { address: SocketAddr, cause: String },
    #[error(
        "already running at {holder}; open that one, or stop it first; a second demo needs another \
         --data-dir than {}, and other ports",
        .path.display()
    )]
    DataInUse { path: PathBuf, holder: String },
    #[error(
        "already running at {url}/ ({service} of Valerix); open that one, or stop it first; a \
         second demo needs other ports ({PORT_FLAGS}) and another --data-dir"
    )]
    PortInUse { url: BaseUrl, service: String },
    #[error(
        "no demo of this user runs on {}; start one with 'valerix demo', or give the address of a \
         database in DATABASE_URL or with --database-url",
        .data_dir.display()
    )]
    NotRunning { data_dir: PathBuf },
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    #[error(transparent)]
    Schema(#[from] SchemaError),
    #[error(
        "the products cannot be stocked: {cause}; if an earlier version made this database, \
         --reset deletes its data"
    )]
    Stock { cause: String },
    #[error("{0}: {1}")]
    Service(ServiceKind, io::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
}
