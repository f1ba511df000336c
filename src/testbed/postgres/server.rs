//! A running private server.

use nix::sys::signal::Signal;
use tokio_postgres::NoTls;

use super::binaries::Binaries;
use super::error::PostgresError;
use super::home::Home;
use super::launch::{ServerProcess, launch, prepare_data};
use super::postmaster::Postmaster;
use super::quoting::shell_word;

/// The server, from its start until [`Server::stop`]. Dropping this value asks the server to stop,
/// and does not wait for it.
pub struct Server {
    home: Home,
    binaries: Binaries,
    settings: Vec<String>,
    postmaster: Postmaster,
    /// `None` if the server was taken over from a program that died.
    process: Option<ServerProcess>,
}

impl Server {
    /// Starts the server, and initialises its files if there are none. A server that already runs
    /// on the home is taken over. `settings` are `name=value` pairs of `postgresql.conf`.
    ///
    /// # Errors
    /// See [`PostgresError`].
    pub async fn start(home: Home, settings: Vec<String>) -> Result<Self, PostgresError> {
        let binaries = Binaries::find()?;
        prepare_data(&home, &binaries).await?;
        let (postmaster, process) = if let Some(running) =
            Postmaster::running(&home.data(), &home.user)
        {
            (running.ready(&home.log(), None).await?, None)
        } else {
            home.remove_stale_socket_dir();
            let socket_dir = home.make_socket_dir()?;
            let (postmaster, process) = launch(&home, &binaries, &settings, &socket_dir).await?;
            (postmaster, Some(process))
        };
        Ok(Self {
            home,
            binaries,
            settings,
            postmaster,
            process,
        })
    }

    /// Whether the server already ran, left behind by a program that was killed.
    #[must_use]
    pub fn was_taken_over(&self) -> bool {
        self.process.is_none()
    }

    #[must_use]
    pub fn major_version(&self) -> u32 {
        self.binaries.major_version
    }

    /// The URL of one of the server's databases.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.postmaster.url(database)
    }

    /// The shell command that opens a database with `psql`.
    #[must_use]
    pub fn psql_command(&self, database: &str) -> String {
        let socket_dir = shell_word(self.postmaster.socket_dir());
        format!("psql -h {socket_dir} -U postgres {database}")
    }

    /// Creates the database if it does not exist.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn ensure_database(&self, name: &str) -> Result<(), PostgresError> {
        let failed = |error: tokio_postgres::Error| PostgresError::Command {
            what: "creating the database",
            cause: error.to_string(),
        };
        let (client, connection) = tokio_postgres::connect(&self.url("postgres"), NoTls)
            .await
            .map_err(failed)?;
        let driver = tokio::spawn(connection);
        let exists = client
            .query_opt("SELECT 1 FROM pg_database WHERE datname = $1", &[&name])
            .await
            .map_err(failed)?;
        if exists.is_none() {
            let create = format!("CREATE DATABASE \"{name}\"");
            client.batch_execute(&create).await.map_err(failed)?;
        }
        drop(client);
        // The connection is closed now, so the driver has nothing left to report.
        let _ = driver.await;
        Ok(())
    }

    /// Waits until the server has ended, for whatever reason.
    pub async fn ended(&mut self) {
        match &mut self.process {
            Some(ServerProcess(child)) => drop(child.wait().await),
            None => self.postmaster.ended().await,
        }
    }

    /// Starts the server again after it has ended.
    ///
    /// # Errors
    /// See [`PostgresError`].
    pub async fn restart(&mut self) -> Result<(), PostgresError> {
        // The other processes of a killed server live on for a moment, and hold shared memory that
        // the new server needs.
        self.postmaster.all_ended().await;
        // The socket stays where it was, because clients have its address.
        let socket_dir = self.postmaster.socket_dir().to_owned();
        self.home.user.make_private_dir(&socket_dir)?;
        let (postmaster, process) =
            launch(&self.home, &self.binaries, &self.settings, &socket_dir).await?;
        self.postmaster = postmaster;
        self.process = Some(process);
        Ok(())
    }

    /// Kills the first process of the server, so that the next start needs crash recovery.
    pub async fn kill(&mut self) {
        self.postmaster.signal(Signal::SIGKILL);
        self.ended().await;
    }

    /// Stops the server within about 10 s. Open sessions are ended, and committed data is safe.
    pub async fn stop(&mut self) {
        // `self.postmaster` may be outdated: an interrupted restart may have started another one.
        if let Some(postmaster) = Postmaster::running(&self.home.data(), &self.home.user) {
            postmaster.stop().await;
        }
        self.ended().await;
        self.postmaster.all_ended().await;
        self.home
            .remove_temporary_socket_dir(self.postmaster.socket_dir());
    }

    #[must_use]
    pub fn pid(&self) -> i32 {
        self.postmaster.pid()
    }
}
