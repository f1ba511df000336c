//! The three services on a private PostgreSQL.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio_postgres::{Client, NoTls};

use super::addresses::Addresses;
use super::environment::Variables;
use super::error::TestbedError;
use super::postgres::{Home, PostgresError, Server};
use super::process::LineSink;
use super::readiness::Readiness;
use super::scratch_dir::ScratchDir;
use super::service_kind::ServiceKind;
use super::services::{Services, ServicesConfig, ServicesOutput};
use crate::platform::client::BaseUrl;
use crate::platform::db::{DatabaseUrl, migrate};

const DATABASE: &str = "valerix";
const SERVER_SETTINGS: [&str; 1] = ["max_connections=100"];
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The configuration of a cluster.
pub struct ClusterConfig {
    /// A part of the name of the temporary directory.
    pub purpose: &'static str,
    /// Where the database's files are, and stay after the end. Those of an earlier run are removed
    /// first. `None`: in a temporary directory that is removed at the end.
    pub data_dir: Option<PathBuf>,
    /// Set for all services.
    pub variables: Variables,
    /// Receives each line that a service prints.
    pub output: LineSink,
}

/// A database server and three services, all of them processes of their own.
pub struct Cluster {
    server: Server,
    scratch_dir: Option<ScratchDir>,
    services: Services,
}

impl Cluster {
    /// Starts the database server with an empty database. [`Cluster::stop`] must follow, whatever
    /// happens.
    ///
    /// # Errors
    /// When the server cannot be started; then nothing runs.
    pub async fn open(config: ClusterConfig) -> Result<Self, TestbedError> {
        let (home, scratch_dir) = if let Some(directory) = &config.data_dir {
            (Home::open(directory)?, None)
        } else {
            let scratch_dir = ScratchDir::create(config.purpose)?;
            (Home::open(scratch_dir.path())?, Some(scratch_dir))
        };
        home.reset().await?;
        let addresses = Addresses::on_free_ports()?;
        let program = std::env::current_exe()?;
        let server = Server::start(home, SERVER_SETTINGS.map(str::to_owned).to_vec()).await?;
        let database_url = server.url(DATABASE).parse().map_err(io::Error::other)?;
        let services = Services::new(ServicesConfig {
            program,
            addresses,
            database_url,
            variables: config.variables,
            output: ServicesOutput::Lines(config.output),
            poll_interval: POLL_INTERVAL,
        });
        Ok(Self {
            server,
            scratch_dir,
            services,
        })
    }

    /// Creates the database with its schema and the schema's sample products.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn create_database(&self) -> Result<(), TestbedError> {
        self.server.ensure_database(DATABASE).await?;
        migrate(self.database_url()).await?;
        Ok(())
    }

    /// Starts all services, and returns when all of them are ready.
    ///
    /// # Errors
    /// When a service cannot be started, ends, or is not ready within 30 s.
    pub async fn start_services(&mut self) -> Result<(), TestbedError> {
        self.services.start_all().await
    }

    /// Kills a service, starts it again, and waits until it is ready or has ended. `variables` are
    /// set for the new process only.
    ///
    /// # Errors
    /// When the new process cannot be started, or does not become ready within 30 s.
    pub async fn replace(
        &mut self,
        kind: ServiceKind,
        variables: &[(String, String)],
    ) -> Result<Readiness, TestbedError> {
        self.services.replace(kind, variables).await
    }

    /// Stops the database server in order, and starts it again.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn restart_database(&mut self) -> Result<(), PostgresError> {
        self.server.stop().await;
        self.server.restart().await
    }

    /// Kills the database server, and starts it again.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn kill_database(&mut self) -> Result<(), PostgresError> {
        self.server.kill().await;
        self.server.restart().await
    }

    /// # Errors
    /// When the process cannot be waited for.
    pub fn has_ended(&mut self, kind: ServiceKind) -> io::Result<bool> {
        self.services.has_ended(kind)
    }

    /// The id of the service's present process.
    #[must_use]
    pub fn pid(&self, kind: ServiceKind) -> Option<i32> {
        self.services.pid(kind)
    }

    pub fn signal(&self, kind: ServiceKind, signal: Signal) {
        self.services.signal(kind, signal);
    }

    #[must_use]
    pub fn url(&self, kind: ServiceKind) -> BaseUrl {
        self.services.url(kind)
    }

    #[must_use]
    pub fn database_url(&self) -> &DatabaseUrl {
        self.services.database_url()
    }

    /// Opens a database session that belongs to no service's pool.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn connect(&self) -> Result<Client, tokio_postgres::Error> {
        connect(self.database_url()).await
    }

    /// Whether the database's files are kept after the end.
    #[must_use]
    pub fn keeps_data(&self) -> bool {
        self.scratch_dir.is_none()
    }

    /// Stops all processes, and removes the temporary directory.
    ///
    /// # Errors
    /// When a service's process cannot be waited for; the rest is stopped all the same.
    pub async fn stop(mut self) -> io::Result<()> {
        let stopped = self.services.stop_all().await;
        self.server.stop().await;
        drop(self.scratch_dir);
        stopped
    }
}

/// Opens a database session outside of any pool.
///
/// # Errors
/// When the server does not answer.
pub async fn connect(url: &DatabaseUrl) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url.with_password(), NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}
