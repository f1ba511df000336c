//! Injects a fault.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::chaos_cluster::ChaosCluster;
use super::fault::CampaignFault;
use crate::gremlin::GremlinClient;
use crate::platform::fault_injection::Latency;
use crate::prove::error::ProveError;
use crate::testbed::environment::variables;
use crate::testbed::service_kind::ServiceKind;

/// A gremlin rule ends after this many seconds, even if it has not fired `max_fires` times.
const RULE_TTL_SECONDS: u32 = 4;

impl ChaosCluster {
    /// Starts services that have died, injects a fault, and returns when each service is ready or
    /// has died at a failpoint. Database locks and waits for a standby go on in the background.
    ///
    /// Returns whether the fault took effect: a lock may not have been acquired in time, for
    /// example. Failpoints and gremlin rules take effect later; see
    /// [`ChaosCluster::observed_faults`].
    ///
    /// # Errors
    /// When a service or the database does not come back.
    pub async fn inject(&mut self, fault: &CampaignFault) -> Result<bool, ProveError> {
        self.revive().await?;
        match fault {
            CampaignFault::Kill(service) => self.replace(*service, &[]).await?,
            CampaignFault::Failpoint {
                service,
                point,
                occurrence,
                stall,
            } => {
                let action = stall.map_or_else(
                    || "abort".to_owned(),
                    |stall| format!("stall:{}", stall.as_millis()),
                );
                let failpoint = format!("{point}={action}@{occurrence}");
                let variables = variables([("VALERIX_FAILPOINT", failpoint)]);
                self.replace(*service, &variables).await?;
            }
            CampaignFault::Pause { service, duration } => {
                self.pause(*service);
                tokio::time::sleep(*duration).await;
                self.resume(*service);
            }
            CampaignFault::Latency {
                service,
                delay,
                duration,
            } => {
                let was_set = self.set_latency(*service, *delay).await;
                tokio::time::sleep(*duration).await;
                self.set_latency(*service, Duration::ZERO).await;
                return Ok(was_set);
            }
            CampaignFault::GremlinRule {
                service,
                kind,
                direction,
                every,
                max_fires,
            } => {
                let rule = json!({
                    "kind": kind, "direction": direction, "every": every, "max_fires": max_fires,
                    "ttl_seconds": RULE_TTL_SECONDS,
                });
                self.add_gremlin_rule(*service, &rule).await;
            }
            CampaignFault::DatabaseRestart => self.cluster.restart_database().await?,
            CampaignFault::DatabaseKill => self.cluster.kill_database().await?,
            CampaignFault::LockProduct {
                product_id,
                duration,
            } => {
                return self
                    .database_faults
                    .lock_product(product_id, *duration)
                    .await;
            }
            CampaignFault::LockOrders { lock, duration } => {
                return self.database_faults.lock_orders(*lock, *duration).await;
            }
            CampaignFault::StandbyWait { duration } => {
                return self.database_faults.delay_commits(*duration).await;
            }
            CampaignFault::EndSessions(service) => {
                return self.database_faults.end_sessions(*service).await;
            }
        }
        Ok(true)
    }

    /// Pauses a service until [`ChaosCluster::resume`].
    pub fn pause(&self, service: ServiceKind) {
        self.cluster.signal(service, Signal::SIGSTOP);
    }

    pub fn resume(&self, service: ServiceKind) {
        self.cluster.signal(service, Signal::SIGCONT);
    }

    /// Sets the gremlin's latency; zero switches it off. Returns whether it was set: a service that
    /// has just died at a failpoint has nothing to delay.
    async fn set_latency(&self, service: ServiceKind, delay: Duration) -> bool {
        let latency = Latency {
            enabled: !delay.is_zero(),
            delay_ms: u32::try_from(delay.as_millis()).unwrap_or(u32::MAX),
        };
        let outcome = self.gremlin(service).set_latency(latency).await;
        if let Err(error) = &outcome {
            tracing::debug!(%error, "cannot set the gremlin's latency");
        }
        outcome.is_ok()
    }

    /// Adds a rule. If the service has just died at a failpoint, the rule never fires, which the
    /// observed faults show.
    async fn add_gremlin_rule(&self, service: ServiceKind, rule: &Value) {
        if let Err(error) = self.gremlin(service).add_rule(rule).await {
            tracing::debug!(%error, "cannot add a gremlin rule");
        }
    }

    fn gremlin(&self, service: ServiceKind) -> GremlinClient {
        GremlinClient::new(&self.cluster.url(service), None)
    }
}
