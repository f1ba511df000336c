//! Arguments that several commands share.

use std::time::Duration;

use clap::Args;

use super::parsers::{database_url, seconds, token};
use crate::audit::RemoteDatabases;
use crate::platform::db::DatabaseUrl;

/// The databases of inventory and payment, where these services have their own.
#[derive(Debug, Clone, Args)]
pub struct RemoteDatabaseArgs {
    /// Inventory's database, if it has its own; the audit reads it [default: the same database]
    #[arg(long, env = "INVENTORY_DATABASE_URL", hide_env_values = true,
          value_parser = database_url)]
    inventory_database_url: Option<DatabaseUrl>,
    /// Payment's database, if it has its own; the audit reads it [default: the same database]
    #[arg(long, env = "PAYMENT_DATABASE_URL", hide_env_values = true,
          value_parser = database_url)]
    payment_database_url: Option<DatabaseUrl>,
}

impl RemoteDatabaseArgs {
    pub fn config(&self) -> RemoteDatabases {
        RemoteDatabases {
            inventory: self.inventory_database_url.clone(),
            payment: self.payment_database_url.clone(),
        }
    }
}

#[derive(Debug, Clone, Copy, Args)]
pub struct RecoveryBoundArgs {
    /// Seconds after which a pending order fails and releases what it holds
    #[arg(long, env = "RECOVERY_BOUND_SECONDS", default_value_t = 3600, value_parser = seconds)]
    pub recovery_bound_seconds: u64,
}

impl RecoveryBoundArgs {
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.recovery_bound_seconds)
    }
}

/// The token that operators send and that their routes require.
#[derive(Debug, Clone, Args)]
pub struct OperatorTokenArgs {
    /// Bearer token of the operators, who deliver stock, and cancel and fulfil orders [default:
    /// none]
    #[arg(long = "operator-token", env = "OPERATOR_TOKEN", hide_env_values = true,
          value_parser = token, global = true)]
    pub token: Option<String>,
}
