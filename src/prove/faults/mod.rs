//! Faults: what they are, how they are injected and ended, and what the services' logs show of
//! them.

mod chaos_cluster;
mod database;
mod fault;
mod inject;
mod kind;
mod observed;
mod session;

pub use chaos_cluster::{ChaosCluster, unsettled_orders};
pub use fault::{CampaignFault, OrdersLock};
pub use kind::CampaignFaultKind;
pub use observed::ObservedFaults;
pub use session::Session;
