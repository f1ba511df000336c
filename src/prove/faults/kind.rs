//! The kinds of faults, as they are counted.

use std::fmt;

use crate::platform::fault_injection::spec;
use crate::testbed::service_kind::ServiceKind;

/// A fault without its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CampaignFaultKind {
    Kill(ServiceKind),
    Failpoint(ServiceKind),
    Pause(ServiceKind),
    Latency(ServiceKind),
    GremlinRule(spec::GremlinKind),
    DatabaseRestart,
    DatabaseKill,
    LockProduct,
    LockOrders,
    StandbyWait,
    EndSessions(ServiceKind),
}

impl CampaignFaultKind {
    /// All kinds. A campaign that lacks one of them proves too little.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let of_service = |service| {
            [
                Self::Kill(service),
                Self::Failpoint(service),
                Self::Pause(service),
                Self::Latency(service),
                Self::EndSessions(service),
            ]
        };
        let mut all: Vec<_> = ServiceKind::ALL.into_iter().flat_map(of_service).collect();
        all.extend(
            spec::GremlinKind::ALL
                .iter()
                .copied()
                .map(Self::GremlinRule),
        );
        all.extend([Self::DatabaseRestart, Self::DatabaseKill]);
        all.extend([Self::LockProduct, Self::LockOrders, Self::StandbyWait]);
        all.sort();
        all
    }

    /// Whether a fault of this kind waits for a request after it was injected. Only the services'
    /// logs show whether it took effect.
    #[must_use]
    pub const fn takes_effect_later(self) -> bool {
        matches!(self, Self::Failpoint(_) | Self::GremlinRule(_))
    }

    /// Whether `--database-restarts` sets the number of faults of this kind. `--kills` sets the
    /// number of all others.
    #[must_use]
    pub const fn follows_database_restarts(self) -> bool {
        matches!(self, Self::DatabaseRestart | Self::DatabaseKill)
    }
}

/// The name in the report.
impl fmt::Display for CampaignFaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(service) => write!(f, "kill-{service}"),
            Self::Failpoint(service) => write!(f, "failpoint-{service}"),
            Self::Pause(service) => write!(f, "pause-{service}"),
            Self::Latency(service) => write!(f, "latency-{service}"),
            Self::GremlinRule(kind) => write!(f, "gremlin-{kind}"),
            Self::DatabaseRestart => write!(f, "database-restart"),
            Self::DatabaseKill => write!(f, "database-kill"),
            Self::LockProduct => write!(f, "lock-product"),
            Self::LockOrders => write!(f, "lock-orders"),
            Self::StandbyWait => write!(f, "standby-wait"),
            Self::EndSessions(service) => write!(f, "end-sessions-{service}"),
        }
    }
}
