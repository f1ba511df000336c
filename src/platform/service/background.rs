//! Waits for the schema, and then starts the background work of a service.

use std::time::Duration;

use super::config::{Config, StartError};
use super::role::{Platform, Role};
use crate::platform::db::{SchemaError, is_ready, migrate};
use crate::platform::shutdown::Shutdown;

/// What a role does beside answering requests; it needs the schema.
pub struct Background<R> {
    pub role: R,
    pub platform: Platform,
    pub shutdown: Shutdown,
}

impl<R: Role> Background<R> {
    /// On a thread with a runtime of its own, because HTTP clients belong to a thread. The process
    /// does not wait for it to end: what it leaves unfinished is taken over like after any
    /// crash.
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

/// Brings the schema up to date, or waits until somebody else has, however long the database takes
/// to come. Then starts what needs it. Never returns `Ok`, so that it can stand beside the server
/// in a `select!`.
pub async fn await_schema<R: Role>(
    config: &Config,
    shutdown: Shutdown,
    background: Background<R>,
) -> Result<std::convert::Infallible, StartError> {
    let mut pause = Duration::from_millis(250);
    let pools = background.platform.pools.clone();
    let connecting = pools.connecting();
    pools.expect_schema(config.migrate);
    loop {
        match prepare::<R>(config).await {
            Ok(ready) => {
                connecting.resolve();
                if ready {
                    pools.expect_schema(false);
                    background.start()?;
                    return std::future::pending().await;
                }
            }
            Err(SchemaError::Unreachable { cause, .. }) => {
                connecting.raise(&cause);
            }
            Err(error) => return Err(error.into()),
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_secs(2)),
            () = shutdown.requested() => std::future::pending().await,
        }
    }
}

/// Whether the schema is there, and the service may use it.
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
