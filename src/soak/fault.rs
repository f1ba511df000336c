//! The faults of a soak.

use std::time::Duration;

use tokio_postgres::Client;

use super::error::SoakError;
use super::trend::MIN_POINTS;
use crate::platform::fault_injection::spec::{Direction, GremlinKind};
use crate::prove::faults::{CampaignFault, ChaosCluster};
use crate::testbed::service_kind::ServiceKind;

/// From one fault to the next. Most faults end sooner.
pub const FAULT_INTERVAL: Duration = Duration::from_secs(3);
const SPARE_ROUNDS: usize = 2;

#[derive(Debug, Clone)]
pub enum SoakFault {
    /// A fault that campaigns have too.
    Shared(CampaignFault),
    /// Ends the open sessions of a service. Unlike `CampaignFault::EndSessions`, it does not wait
    /// for a session.
    SessionsEnded(ServiceKind),
}

impl SoakFault {
    /// The faults of one round, which is repeated until the end. A killed process would hide what
    /// it had leaked, and the `hang` kind keeps a connection for ten minutes, so neither is among
    /// them.
    pub fn round() -> Vec<Self> {
        let rule = |service, kind, direction| {
            Self::Shared(CampaignFault::GremlinRule {
                service,
                kind,
                direction,
                every: 5,
                max_fires: 40,
            })
        };
        let latency = |service, delay_ms| {
            Self::Shared(CampaignFault::Latency {
                service,
                delay: Duration::from_millis(delay_ms),
                duration: Duration::from_secs(2),
            })
        };
        let pause = CampaignFault::Pause {
            service: ServiceKind::Order,
            duration: Duration::from_secs(1),
        };
        vec![
            latency(ServiceKind::Inventory, 200),
            Self::SessionsEnded(ServiceKind::Order),
            rule(
                ServiceKind::Inventory,
                GremlinKind::Error,
                Direction::Inbound,
            ),
            Self::SessionsEnded(ServiceKind::Inventory),
            rule(
                ServiceKind::Payment,
                GremlinKind::Vanish,
                Direction::Inbound,
            ),
            latency(ServiceKind::Payment, 2000),
            Self::SessionsEnded(ServiceKind::Payment),
            rule(
                ServiceKind::Inventory,
                GremlinKind::Drop,
                Direction::Inbound,
            ),
            Self::Shared(pause),
            rule(ServiceKind::Order, GremlinKind::Drop, Direction::Outbound),
        ]
    }

    pub fn name(&self) -> String {
        match self {
            Self::Shared(fault) => fault.kind().to_string(),
            Self::SessionsEnded(service) => format!("sessions-ended-{service}"),
        }
    }

    pub async fn inject(&self, chaos_cluster: &mut ChaosCluster) -> Result<(), SoakError> {
        match self {
            Self::Shared(fault) => {
                chaos_cluster.inject(fault).await?;
            }
            Self::SessionsEnded(service) => {
                let end_sessions = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE application_name = $1";
                let service = service.as_str();
                let end = async |client: &Client| client.execute(end_sessions, &[&service]).await;
                chaos_cluster.session().ask(end).await?;
            }
        }
        Ok(())
    }
}

/// The number of faults between two samples.
pub fn faults_per_sample(sample_interval: Duration) -> u32 {
    let faults = sample_interval.as_secs() / FAULT_INTERVAL.as_secs();
    u32::try_from(faults).unwrap_or(u32::MAX).max(1)
}

/// The shortest soak in which a trend can be found, with some rounds to spare for slow faults.
pub fn min_duration_of_trend(sample_interval: Duration) -> Duration {
    let samples = samples_per_round(sample_interval) * (2 * MIN_POINTS + SPARE_ROUNDS);
    sample_interval * u32::try_from(samples).unwrap_or(u32::MAX)
}

/// The number of samples in which every fault happens once.
pub fn samples_per_round(sample_interval: Duration) -> usize {
    let faults_per_sample = usize::try_from(faults_per_sample(sample_interval));
    SoakFault::round()
        .len()
        .div_ceil(faults_per_sample.unwrap_or(usize::MAX))
}
