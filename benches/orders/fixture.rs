//! The private PostgreSQL server that all runs share, and the directory for its files and the logs
//! of the services.

use std::path::{Path, PathBuf};
use std::{fs, io};

use tokio_postgres::Client;
use valerix::testbed::postgres::{Home, Server, temporary_home_in};

use crate::args::Args;
use crate::database;
use crate::fallible::Fallible;

/// By default `pg_stat_activity` shows the first 1 KB of a statement, but the backlog needs a whole
/// statement.
const SERVER_SETTINGS: [&str; 1] = ["track_activity_query_size=16384"];
/// Writes `max_wal_size` of WAL in pieces of 1 MB. The checkpoint frees its segments for reuse.
const FILL_WAL: &str = "SELECT count(pg_logical_emit_message(false, 'fill', repeat('x', 1048576)))
    FROM generate_series(1, (SELECT setting::int FROM pg_settings WHERE name = 'max_wal_size'));
    CHECKPOINT;";
/// pgbench's database.
const SCRATCH_DATABASE: &str = "scratch";

pub struct Fixture<'a> {
    pub args: &'a Args,
    pub server: Server,
    home: PathBuf,
}

impl<'a> Fixture<'a> {
    /// Starts the server with an empty database for pgbench. [`Fixture::remove`] must follow.
    pub async fn start(args: &'a Args) -> Fallible<Self> {
        let directory = args.data_dir.clone().map_or_else(temporary_directory, Ok)?;
        let home = Home::open(&directory)?;
        home.reset().await?;
        let root = home.root().to_owned();
        let settings = SERVER_SETTINGS.map(str::to_owned).to_vec();
        let server = Server::start(home, settings).await?;
        server.ensure_database(SCRATCH_DATABASE).await?;
        let fixture = Self {
            args,
            server,
            home: root,
        };
        let scratch = database::connect(&fixture.scratch_url()).await?;
        database::execute(&scratch, include_str!("base_schema.sql")).await?;
        eprintln!("filling the WAL");
        reuse_wal_segments(&scratch).await?;
        Ok(fixture)
    }

    pub fn home(&self) -> &Path {
        &self.home
    }

    pub fn scratch_url(&self) -> String {
        self.server.url(SCRATCH_DATABASE)
    }

    /// Stops the server, and removes the directory.
    pub async fn remove(mut self) -> Fallible<()> {
        self.server.stop().await;
        fs::remove_dir_all(&self.home)?;
        Ok(())
    }
}

/// Makes the server write over WAL segments that exist, as any server does that is older than a
/// checkpoint or two. A new server creates each segment and fills it with zeros, while all commits
/// wait.
async fn reuse_wal_segments(client: &Client) -> Fallible<()> {
    database::execute(client, FILL_WAL).await
}

/// Creates a directory on a disk. The usual directory for temporary files is often in memory, where
/// commits take no time.
fn temporary_directory() -> io::Result<PathBuf> {
    let on_disk = Path::new("/var/tmp");
    let parent = if on_disk.is_dir() {
        on_disk.to_owned()
    } else {
        std::env::temp_dir()
    };
    temporary_home_in(&parent, "bench")
}
