//! A cluster in which faults are injected: keeps its services running, and ends all faults.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::database::DatabaseFaults;
use super::observed::ObservedFaults;
use super::session::{Session, while_away};
use crate::audit::{self, Audit, RemoteDatabases};
use crate::prove::error::ProveError;
use crate::testbed::cluster::{Cluster, ClusterConfig};
use crate::testbed::environment::variables;
use crate::testbed::service_kind::ServiceKind;

/// Limits each call of the order service to another. It is short so that many calls time out.
const STEP_TIMEOUT: Duration = Duration::from_millis(600);
/// Pause between two checks for services that died.
const REVIVE_INTERVAL: Duration = Duration::from_millis(500);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A cluster and the faults that are in progress in it.
///
/// [`ChaosCluster::inject`] is in `inject.rs`.
pub struct ChaosCluster {
    pub(super) cluster: Cluster,
    pub(super) database_faults: DatabaseFaults,
    observed: Arc<Mutex<ObservedFaults>>,
}

impl ChaosCluster {
    /// Starts the cluster's database server. [`ChaosCluster::stop`] must follow, whatever happens.
    /// `purpose` and `data_dir` are those of [`ClusterConfig`].
    ///
    /// # Errors
    /// When the server cannot be started.
    pub async fn open(
        purpose: &'static str,
        payment_seed: u64,
        data_dir: Option<PathBuf>,
    ) -> Result<Self, ProveError> {
        let observed: Arc<Mutex<ObservedFaults>> = Arc::default();
        let shared = Arc::clone(&observed);
        let cluster = Cluster::open(ClusterConfig {
            purpose,
            data_dir,
            variables: variables([
                (
                    "DOWNSTREAM_TIMEOUT_MS",
                    STEP_TIMEOUT.as_millis().to_string(),
                ),
                ("PAYMENT_SEED", payment_seed.to_string()),
                ("LOG_FORMAT", "json".to_owned()),
                ("RUST_LOG", "warn".to_owned()),
            ]),
            output: Arc::new(move |line| lock(&shared).observe(line)),
        })
        .await?;
        let database_faults = DatabaseFaults::new(cluster.database_url().clone());
        Ok(Self {
            cluster,
            database_faults,
            observed,
        })
    }

    /// Starts the services on a database with these products and their stock.
    ///
    /// # Errors
    /// When the database or a service does not start.
    pub async fn start(&mut self, products: &[(String, i32)]) -> Result<(), ProveError> {
        self.cluster.create_database().await?;
        let client = self.cluster.connect().await?;
        let products_of_the_schema = "TRUNCATE inventory, deliveries";
        client.execute(products_of_the_schema, &[]).await?;
        // Without the cast, the parameter has the type of the column, a domain, which is no `i32`.
        let insert = "INSERT INTO inventory (product_id, stock) VALUES ($1, $2::int)";
        for (product_id, stock) in products {
            client.execute(insert, &[product_id, stock]).await?;
        }
        self.cluster.start_services().await?;
        Ok(())
    }

    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Kills a service and starts it again with these variables. Returns when the service is ready,
    /// or has died again at a failpoint.
    pub(super) async fn replace(
        &mut self,
        service: ServiceKind,
        variables: &[(String, String)],
    ) -> Result<(), ProveError> {
        self.cluster.replace(service, variables).await?;
        Ok(())
    }

    /// Waits for a future. A service that dies meanwhile is started again, as an orchestrator would
    /// do: otherwise most requests would reach no service, and prove nothing.
    ///
    /// # Errors
    /// When a service does not start again.
    pub async fn run_until<T>(&mut self, done: impl Future<Output = T>) -> Result<T, ProveError> {
        let mut done = std::pin::pin!(done);
        loop {
            match tokio::time::timeout(REVIVE_INTERVAL, &mut done).await {
                Ok(value) => return Ok(value),
                Err(_) => self.revive().await?,
            }
        }
    }

    /// Starts every service again that has died.
    ///
    /// # Errors
    /// When a service does not start again.
    pub async fn revive(&mut self) -> Result<(), ProveError> {
        for service in ServiceKind::ALL {
            if self.cluster.has_ended(service)? {
                self.replace(service, &[]).await?;
            }
        }
        Ok(())
    }

    /// Ends all faults: no lock and no wait is left, and every service has a new process without
    /// failpoint, rule or latency.
    ///
    /// # Errors
    /// When a service does not start, or the database does not answer.
    pub async fn end_all_faults(&mut self) -> Result<(), ProveError> {
        self.database_faults.end_all().await?;
        let mut session = self.session();
        let now = async |client: &Client| client.query_one("SELECT now()::text", &[]).await;
        let now: String = session.ask(now).await?.get(0);
        for service in ServiceKind::ALL {
            self.replace(service, &[]).await?;
        }
        // A session of a killed process may still be about to commit.
        let end_sessions = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE application_name = ANY ($1) AND backend_start < $2::text::timestamptz";
        let services = ServiceKind::ALL.map(ServiceKind::as_str);
        let end =
            async |client: &Client| client.execute(end_sessions, &[&&services[..], &now]).await;
        while session.ask(end).await? > 0 {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Waits until every order is settled. Returns the number of orders that are still unsettled
    /// after the timeout.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn wait_until_settled(&self, timeout: Duration) -> Result<i64, ProveError> {
        let mut session = self.session();
        let started = Instant::now();
        loop {
            let unsettled = session.ask(unsettled_orders).await?;
            if unsettled == 0 || started.elapsed() > timeout {
                return Ok(unsettled);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// A database session that belongs to no service. It waits while the database is away.
    #[must_use]
    pub fn session(&self) -> Session {
        Session::new(self.cluster.database_url().clone())
    }

    /// Audits the database.
    ///
    /// # Errors
    /// See [`audit::AuditError`].
    pub async fn audit(&self, recovery_bound: Duration) -> Result<Audit, ProveError> {
        let (url, remote) = (self.cluster.database_url(), RemoteDatabases::default());
        while_away(async || Ok(audit::run(url, recovery_bound, &remote).await?)).await
    }

    /// The faults and errors in the logs of the services so far.
    #[must_use]
    pub fn observed_faults(&self) -> ObservedFaults {
        lock(&self.observed).clone()
    }

    /// Stops all processes.
    ///
    /// # Errors
    /// When a service's process cannot be waited for.
    pub async fn stop(mut self) -> io::Result<()> {
        if self.cluster.keeps_data() {
            // After a campaign that failed, commits in the kept database could wait for the standby
            // for ever. A server that does not answer cannot be helped here.
            let _ = self.database_faults.end_all().await;
        }
        // On the heap, because this future is large.
        Box::pin(self.cluster.stop()).await
    }
}

/// The number of orders that are not settled.
///
/// # Errors
/// When the database does not answer.
pub async fn unsettled_orders(client: &Client) -> Result<i64, tokio_postgres::Error> {
    let statement = "SELECT count(*) FROM unsettled_orders";
    Ok(client.query_one(statement, &[]).await?.get(0))
}

fn lock(observed: &Mutex<ObservedFaults>) -> MutexGuard<'_, ObservedFaults> {
    observed.lock().unwrap_or_else(PoisonError::into_inner)
}
