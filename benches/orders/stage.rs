//! Where everything happens: the private PostgreSQL server, and the directory that holds its files
//! and the services' logs.

use std::path::{Path, PathBuf};

use valerix::audit;
use valerix::platform::db::{DatabaseUrl, migrate};
use valerix::testbed::postgres::{Home, Server, temporary_home_in};

use crate::Fallible;
use crate::args::Args;
use crate::database;
use crate::services::Services;

/// `pg_stat_activity` cuts statements off at its default of 1 KB, and the backlog shows one as it
/// ran.
const SERVER_SETTINGS: &[&str] = &["track_activity_query_size=16384"];
/// pgbench's database.
const SCRATCH: &str = "scratch";
/// Longer than any benchmark.
const RECOVERY_BOUND: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

pub struct Stage<'a> {
    pub args: &'a Args,
    pub server: Server,
    home: PathBuf,
}

impl<'a> Stage<'a> {
    pub async fn build(args: &'a Args) -> Fallible<Self> {
        let home = Home::open(&args.data_dir.clone().map_or_else(own_directory, Ok)?)?;
        home.reset().await?;
        let root = home.root().to_owned();
        let server = Server::start(
            home,
            SERVER_SETTINGS.iter().map(ToString::to_string).collect(),
        )
        .await?;
        server.ensure_database(SCRATCH).await?;
        let stage = Self {
            args,
            server,
            home: root,
        };
        let scratch = database::connect(&stage.scratch_url()).await?;
        database::execute(&scratch, include_str!("base_schema.sql")).await?;
        Ok(stage)
    }

    pub fn home(&self) -> &Path {
        &self.home
    }

    pub fn scratch_url(&self) -> String {
        self.server.url(SCRATCH)
    }

    /// The services on a fresh, stocked database of this name.
    pub async fn services(&self, name: &str) -> Fallible<Services> {
        self.server.ensure_database(name).await?;
        let url: DatabaseUrl = self.server.url(name).parse()?;
        migrate(&url).await?;
        database::execute(
            &database::connect(url.with_password()).await?,
            include_str!("stock.sql"),
        )
        .await?;
        Services::start(self, url).await
    }

    /// Ends the services and checks that their books balance.
    pub async fn close(&self, services: Services) -> Fallible<()> {
        let url = services.url.clone();
        services.stop().await?;
        if let Some(statements) = &self.args.tamper {
            database::execute(&database::connect(url.with_password()).await?, statements).await?;
        }
        let audit = audit::run(&url, RECOVERY_BOUND, &audit::RemoteDatabases::default()).await?;
        if audit.clean {
            eprintln!(
                "  the books balance: {} orders, {} confirmed",
                audit.orders.total, audit.orders.confirmed
            );
            return Ok(());
        }
        let broken = audit
            .invariants
            .iter()
            .filter(|invariant| invariant.violations > 0);
        let broken = broken.map(|rule| {
            format!(
                "\n  ✗ {}: {} ({})",
                rule.name, rule.violations, rule.meaning
            )
        });
        Err(format!("the books do not balance:{}", broken.collect::<String>()).into())
    }

    pub async fn clear(mut self) -> Fallible<()> {
        self.server.stop().await;
        std::fs::remove_dir_all(&self.home)?;
        Ok(())
    }
}

/// The temporary directory is often kept in memory, where commits cost nothing.
fn own_directory() -> std::io::Result<PathBuf> {
    let on_disk = Path::new("/var/tmp");
    let parent = if on_disk.is_dir() {
        on_disk.to_owned()
    } else {
        std::env::temp_dir()
    };
    temporary_home_in(&parent, "bench")
}
