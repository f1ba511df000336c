//! The faults of a campaign.

use std::fmt;
use std::time::Duration;

use super::kind::CampaignFaultKind;
use crate::platform::fault_injection::spec::{self, Direction};
use crate::testbed::service_kind::ServiceKind;

/// The part of the table `orders` that another session locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrdersLock {
    /// The table, exclusively: no other session can even read it.
    Table,
    /// The newest rows, most of which the order service is about to change.
    NewestRows,
}

/// One fault with all its parameters. A `duration` is the time from the start to the end of a
/// fault that lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CampaignFault {
    /// A service is killed with SIGKILL, and started again.
    Kill(ServiceKind),
    /// A service is killed, and started again with a failpoint. When the failpoint is reached for
    /// the `occurrence`th time, the process aborts or, if `stall` is set, one request pauses for
    /// that long and then goes on.
    Failpoint {
        service: ServiceKind,
        point: &'static str,
        occurrence: u32,
        stall: Option<Duration>,
    },
    /// A service is paused with SIGSTOP, and continued with SIGCONT.
    Pause {
        service: ServiceKind,
        duration: Duration,
    },
    /// The gremlin's latency switch delays every response of a service.
    Latency {
        service: ServiceKind,
        delay: Duration,
        duration: Duration,
    },
    /// The gremlin has a rule until it has fired `max_fires` times, but for at most 4 s.
    GremlinRule {
        service: ServiceKind,
        kind: spec::GremlinKind,
        direction: Direction,
        every: u32,
        max_fires: u32,
    },
    /// The database server is stopped in order, and started again.
    DatabaseRestart,
    /// The database server is killed with SIGKILL, and started again.
    DatabaseKill,
    /// Another session locks a product's row.
    LockProduct {
        product_id: String,
        duration: Duration,
    },
    /// Another session locks orders.
    LockOrders {
        lock: OrdersLock,
        duration: Duration,
    },
    /// Commits wait for a standby that does not exist. The data is committed locally and stays
    /// stored.
    StandbyWait { duration: Duration },
    /// The database server ends all sessions of a service.
    EndSessions(ServiceKind),
}

impl CampaignFault {
    #[must_use]
    pub const fn kind(&self) -> CampaignFaultKind {
        match self {
            Self::Kill(service) => CampaignFaultKind::Kill(*service),
            Self::Failpoint { service, .. } => CampaignFaultKind::Failpoint(*service),
            Self::Pause { service, .. } => CampaignFaultKind::Pause(*service),
            Self::Latency { service, .. } => CampaignFaultKind::Latency(*service),
            Self::GremlinRule { kind, .. } => CampaignFaultKind::GremlinRule(*kind),
            Self::DatabaseRestart => CampaignFaultKind::DatabaseRestart,
            Self::DatabaseKill => CampaignFaultKind::DatabaseKill,
            Self::LockProduct { .. } => CampaignFaultKind::LockProduct,
            Self::LockOrders { .. } => CampaignFaultKind::LockOrders,
            Self::StandbyWait { .. } => CampaignFaultKind::StandbyWait,
            Self::EndSessions(service) => CampaignFaultKind::EndSessions(*service),
        }
    }

    /// The service that the fault meets, or `database`.
    #[must_use]
    pub const fn target(&self) -> &'static str {
        match self {
            Self::Kill(service)
            | Self::Failpoint { service, .. }
            | Self::Pause { service, .. }
            | Self::Latency { service, .. }
            | Self::GremlinRule { service, .. }
            | Self::EndSessions(service) => service.as_str(),
            Self::DatabaseRestart
            | Self::DatabaseKill
            | Self::LockProduct { .. }
            | Self::LockOrders { .. }
            | Self::StandbyWait { .. } => "database",
        }
    }
}

/// Describes the effect in a few words.
impl fmt::Display for CampaignFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |duration: &Duration| format!("{:.1} s", duration.as_secs_f64());
        match self {
            Self::Kill(service) => write!(f, "{service} killed"),
            Self::Failpoint {
                point, stall: None, ..
            } => write!(f, "abort armed at {point}"),
            Self::Failpoint {
                point,
                stall: Some(stall),
                ..
            } => write!(f, "stall of {} armed at {point}", seconds(stall)),
            Self::Pause { service, duration } => {
                write!(f, "{service} paused for {}", seconds(duration))
            }
            Self::Latency { service, delay, .. } => {
                write!(f, "{service} answers {} late", seconds(delay))
            }
            Self::GremlinRule {
                service,
                kind,
                direction,
                ..
            } => {
                let requests = match direction {
                    Direction::Inbound => "requests to",
                    Direction::Outbound => "calls by",
                };
                write!(f, "gremlin: {kind} on {requests} {service}")
            }
            Self::DatabaseRestart => f.write_str("database restarted"),
            Self::DatabaseKill => f.write_str("database killed"),
            Self::LockProduct {
                product_id,
                duration,
            } => write!(f, "product {product_id} locked for {}", seconds(duration)),
            Self::LockOrders { lock, duration } => {
                let locked = match lock {
                    OrdersLock::Table => "all orders",
                    OrdersLock::NewestRows => "newest orders",
                };
                write!(f, "{locked} locked for {}", seconds(duration))
            }
            Self::StandbyWait { duration } => {
                write!(f, "commits wait {} for a standby", seconds(duration))
            }
            Self::EndSessions(service) => write!(f, "database sessions of {service} ended"),
        }
    }
}
