//! Waits for the schema, and then starts the background work of a service.

use std::convert::Infallible;
use std::time::Duration;

use super::config::{Config, StartError};
use super::role::{Platform, Role};
use crate::platform::db::{SchemaError, is_ready, migrate};
use crate::platform::shutdown::Shutdown;

/// The first pause before the schema is checked again. It doubles up to
/// [`MAX_SCHEMA_CHECK_INTERVAL`].
const MIN_SCHEMA_CHECK_INTERVAL: Duration = Duration::from_millis(250);
const MAX_SCHEMA_CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// The background work of a service, which needs the schema.
pub struct Background<R> {
    pub role: R,
    pub platform: Platform,
    pub shutdown: Shutdown,
}

impl<R: Role> Background<R> {
    /// Starts the work on a thread with its own runtime, because HTTP clients belong to one thread.
    /// The process does not wait for the end of the work: another process takes it over, as
    /// after a crash.
    fn start(self) -> std::io::Result<()> {
        let Self {
            role,
            platform,
            shutdown,
        } = self;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        std::thread::Builder::new()
            .name("background".to_owned())
            .spawn(move || {
                let background =
                    async { role.background(platform.for_this_thread(), shutdown).await };
                tokio::task::LocalSet::new().block_on(&runtime, background);
            })?;
        Ok(())
    }
}

/// Migrates the schema, or waits until another process has migrated it, and retries while the
/// database is unreachable. Then starts the background work. Never returns `Ok`, so that it can run
/// beside the server in a `select!`.
pub async fn await_schema<R: Role>(
    config: &Config,
    shutdown: Shutdown,
    background: Background<R>,
) -> Result<Infallible, StartError> {
    let mut pause = MIN_SCHEMA_CHECK_INTERVAL;
    let pools = background.platform.pools.clone();
    let unreachable = pools.unreachable_incident();
    pools.set_migrating(config.migrate);
    loop {
        match prepare::<R>(config).await {
            Ok(ready) => {
                unreachable.resolve();
                if ready {
                    pools.set_migrating(false);
                    background.start()?;
                    return std::future::pending().await;
                }
            }
            Err(SchemaError::Unreachable { cause, .. }) => {
                unreachable.raise(&cause);
            }
            Err(error) => return Err(error.into()),
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(MAX_SCHEMA_CHECK_INTERVAL),
            () = shutdown.requested() => std::future::pending().await,
        }
    }
}

/// Migrates the schema if this process is to do so. Returns whether the service can use its tables.
async fn prepare<R: Role>(config: &Config) -> Result<bool, SchemaError> {
    let applied = if config.migrate {
        Some(migrate(&config.database_url).await?)
    } else {
        None
    };
    let ready = is_ready(&config.database_url, R::TABLES).await?;
    if let Some(applied) = applied.filter(|_| ready) {
        tracing::info!(applied = applied.len(), "schema is up to date");
    }
    Ok(ready)
}
