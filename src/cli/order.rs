//! `valerix order`

use std::time::Duration;

use clap::Args;

use super::default_urls::local_url;
use super::error::ConfigError;
use super::outcome::Outcome;
use super::parsers::{base_url, http_url, seconds, timeout_ms, trace_url};
use super::service::ServiceArgs;
use super::service_command::{self, ServiceCommand};
use super::shared::{OperatorTokenArgs, RecoveryBoundArgs, RemoteDatabaseArgs};
use crate::order::saga::recovery;
use crate::order::{self, OrderService};
use crate::platform::client::BaseUrl;
use crate::platform::service::{self, Platform};
use crate::testbed::service_kind::ServiceKind;

#[derive(Debug, Args)]
pub struct OrderArgs {
    #[command(flatten)]
    service: ServiceArgs,
    #[command(flatten, next_help_heading = "Options of the order service")]
    operator: OperatorTokenArgs,
    /// Address of the inventory service
    #[arg(long, env = "INVENTORY_SERVICE_URL",
          default_value_t = local_url(ServiceKind::Inventory), value_parser = base_url)]
    inventory_service_url: BaseUrl,
    /// Address of the payment service
    #[arg(long, env = "PAYMENT_SERVICE_URL",
          default_value_t = local_url(ServiceKind::Payment), value_parser = base_url)]
    payment_service_url: BaseUrl,
    /// Step timeout: milliseconds for one call to inventory or payment, its retries included
    #[arg(long, env = "DOWNSTREAM_TIMEOUT_MS", default_value_t = 2000, value_parser = timeout_ms)]
    downstream_timeout_ms: u64,
    #[command(flatten)]
    remote_databases: RemoteDatabaseArgs,
    #[command(flatten)]
    recovery_bound: RecoveryBoundArgs,
    /// Seconds for which the idempotency key of a settled order is kept; not below the recovery
    /// bound
    #[arg(long, env = "IDEMPOTENCY_KEY_TTL_SECONDS", default_value_t = 86_400,
          value_parser = seconds)]
    idempotency_key_ttl_seconds: u64,
    #[command(flatten)]
    dashboard: DashboardArgs,
}

/// Links on the dashboard.
#[derive(Debug, Args)]
#[command(next_help_heading = "Links on the dashboard")]
struct DashboardArgs {
    /// Address that shows a trace, such as `http://localhost:16686/trace/{trace_id}` [default:
    /// traces are not linked]
    #[arg(long, env = "TRACE_URL", value_parser = trace_url)]
    trace_url: Option<String>,
    /// Address of Grafana [default: Grafana is not linked]
    #[arg(long, env = "GRAFANA_URL", value_parser = http_url)]
    grafana_url: Option<String>,
}

impl OrderArgs {
    /// An idempotency key must be kept for as long as recovery can finish its order. If it were
    /// deleted sooner, a client that repeats its request would create a second order.
    pub fn check(&self) -> Result<(), ConfigError> {
        let ttl = self.idempotency_key_ttl_seconds;
        let bound = self.recovery_bound.recovery_bound_seconds;
        if ttl >= bound {
            return Ok(());
        }
        Err(ConfigError(format!(
            "IDEMPOTENCY_KEY_TTL_SECONDS (--idempotency-key-ttl-seconds) is '{ttl}'; it takes at \
             least RECOVERY_BOUND_SECONDS, which is {bound}"
        )))
    }

    fn config(&self) -> order::Config {
        order::Config {
            inventory_url: self.inventory_service_url.clone(),
            payment_url: self.payment_service_url.clone(),
            step_timeout: Duration::from_millis(self.downstream_timeout_ms),
            service_token: self.service.service_token.clone(),
            database_url: self.service.database_url.clone(),
            remote_databases: self.remote_databases.config(),
            dashboard: order::Dashboard {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                trace_url: self.dashboard.trace_url.clone(),
                grafana_url: self.dashboard.grafana_url.clone(),
                recovery_bound_seconds: self.recovery_bound.recovery_bound_seconds,
            },
            recovery: recovery::Config {
                bound: self.recovery_bound.duration(),
                key_ttl: Duration::from_secs(self.idempotency_key_ttl_seconds),
            },
        }
    }

    pub async fn run(self) -> Outcome {
        service_command::run(self).await
    }
}

impl ServiceCommand for OrderArgs {
    type Service = OrderService;
    const KIND: ServiceKind = ServiceKind::Order;

    fn into_parts(
        self,
    ) -> (
        service::Config,
        impl FnOnce(&Platform) -> prometheus::Result<OrderService>,
    ) {
        let config = self.config();
        let service = service::Config {
            operator_token: self.operator.token,
            ..self.service.config(Self::KIND)
        };
        (service, |platform: &Platform| {
            OrderService::new(config, platform)
        })
    }
}
