//! The faults of a campaign.

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
}
