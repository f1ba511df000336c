//! The demo's database.

use super::config::Config;
use super::database_access::DatabaseAccess;
use super::error::DemoError;
use super::private_data::{DATABASE, DataLock, PrivateData};
use super::stock::stock_fresh_database;
use crate::platform::db::{DatabaseUrl, SchemaError, migrate};
use crate::platform::output;
use crate::testbed::postgres::Server;

const SERVER_SETTINGS: [&str; 1] = ["max_connections=200"];

/// Where the data are, before anything is started.
pub enum Source {
    /// The database of `DATABASE_URL`.
    External(DatabaseUrl),
    Private(PrivateData),
}

impl Source {
    /// Locks the private data if the configuration names no database.
    ///
    /// # Errors
    /// [`DemoError::DataInUse`] when another demo uses them.
    pub fn open(config: &Config) -> Result<Self, DemoError> {
        Ok(match &config.database_url {
            Some(url) => Self::External(url.clone()),
            None => Self::Private(PrivateData::open(config)?),
        })
    }
}

pub enum Database {
    /// The database of `DATABASE_URL`.
    External(DatabaseUrl),
    /// A server of the demo's own, with the lock of its directory.
    Private {
        server: Box<Server>,
        _lock: DataLock,
    },
}

impl Database {
    /// Starts the private server, or takes the external database. Migrates it.
    pub async fn open(source: Source, reset: bool) -> Result<Self, DemoError> {
        match source {
            Source::External(url) => Self::external(url).await,
            Source::Private(data) => Self::private(data, reset).await,
        }
    }

    /// Takes the external database.
    async fn external(url: DatabaseUrl) -> Result<Self, DemoError> {
        match migrate(&url).await {
            // The services wait for a database that is down, and migrate it.
            Ok(_) | Err(SchemaError::Unreachable { .. }) => Ok(Self::External(url)),
            Err(error) => Err(error.into()),
        }
    }

    /// Starts the private server.
    async fn private(
        PrivateData { home, lock }: PrivateData,
        reset: bool,
    ) -> Result<Self, DemoError> {
        if reset {
            home.reset().await?;
            output::print_line(format_args!("{}: all data deleted", home.root().display()));
        }
        let mut server = Server::start(home, SERVER_SETTINGS.map(str::to_owned).to_vec()).await?;
        if server.was_taken_over() {
            output::print_line(format_args!(
                "took over the database server that an earlier demo left running (process {})",
                server.pid()
            ));
        }
        if let Err(error) = prepare(&server).await {
            server.stop().await;
            return Err(error);
        }
        Ok(Self::Private {
            server: Box::new(server),
            _lock: lock,
        })
    }

    /// The URL with the password.
    pub fn url(&self) -> String {
        match self {
            Self::External(url) => url.with_password().to_owned(),
            Self::Private { server, .. } => server.url(DATABASE),
        }
    }

    /// Returns the ways for a user to reach the database. They contain no password.
    pub fn access(&self, config: &Config) -> DatabaseAccess {
        match self {
            Self::External(url) => DatabaseAccess::external(url),
            Self::Private { server, .. } => {
                DatabaseAccess::private(server, DATABASE, config.data_dir.as_deref())
            }
        }
    }

    /// Starts a private server again when it dies. Returns only when that fails.
    pub async fn keep_running(&mut self) -> DemoError {
        let Self::Private { server, .. } = self else {
            return std::future::pending().await;
        };
        loop {
            server.ended().await;
            output::print_line("the database server ended; starting it again");
            if let Err(error) = server.restart().await {
                return error.into();
            }
        }
    }

    pub async fn close(self) {
        if let Self::Private { mut server, .. } = self {
            server.stop().await;
        }
    }
}

/// Creates the database unless it exists, migrates it, and stocks it if it is fresh.
async fn prepare(server: &Server) -> Result<(), DemoError> {
    server.ensure_database(DATABASE).await?;
    let url = server.url(DATABASE).parse();
    let url = url.map_err(|cause| DemoError::Stock { cause })?;
    stock_fresh_database(&url).await
}
