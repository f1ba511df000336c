//! `valerix order`

use std::time::Duration;

use clap::Args;

use super::default_urls::local_url;
use super::error::ConfigError;
use super::outcome::Outcome;
use super::parsers::{base_url, http_url, retention_days, seconds, timeout_ms, token, trace_url};
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
    /// Days after its last change at which an order that is over is deleted, with its events,
    /// reservation and payment; not below the life of its idempotency key [default: never]
    #[arg(long, env = "RETENTION_DAYS", value_parser = retention_days)]
    retention_days: Option<u32>,
    #[command(flatten)]
    dashboard: DashboardArgs,
    #[command(flatten)]
    demo_control: DemoControlArgs,
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

/// Where the demo that runs this service is controlled.
#[derive(Debug, Args)]
struct DemoControlArgs {
    /// Address at which the demo shows and kills its services; set by the demo
    #[arg(long, hide = true, env = "DEMO_CONTROL_URL", value_parser = base_url)]
    demo_control_url: Option<BaseUrl>,
    /// Bearer token of that address; set by the demo
    #[arg(long, hide = true, env = "DEMO_CONTROL_TOKEN",
          hide_env_values = true, value_parser = token)]
    demo_control_token: Option<String>,
}

impl DemoControlArgs {
    fn check(&self) -> Result<(), ConfigError> {
        if self.demo_control_url.is_some() == self.demo_control_token.is_some() {
            return Ok(());
        }
        let text = "DEMO_CONTROL_URL and DEMO_CONTROL_TOKEN are set together, by valerix demo; \
                    unset the one that is set";
        Err(ConfigError(text.to_owned()))
    }

    fn config(&self) -> Option<order::DemoControl> {
        Some(order::DemoControl {
            url: self.demo_control_url.clone()?,
            token: self.demo_control_token.clone()?,
        })
    }
}

impl OrderArgs {
    /// An idempotency key must be kept for as long as recovery can finish its order, and an order
    /// for as long as its key. If one were deleted sooner, a client that repeats its request would
    /// create a second order.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.demo_control.check()?;
        let ttl = self.idempotency_key_ttl_seconds;
        let bound = self.recovery_bound.recovery_bound_seconds;
        if ttl < bound {
            return Err(ConfigError(format!(
                "IDEMPOTENCY_KEY_TTL_SECONDS (--idempotency-key-ttl-seconds) is '{ttl}'; it takes \
                 at least RECOVERY_BOUND_SECONDS, which is {bound}"
            )));
        }
        let min_days = order::min_retention_days(Duration::from_secs(ttl));
        match self.retention_days.filter(|days| *days < min_days) {
            Some(days) => Err(ConfigError(format!(
                "RETENTION_DAYS (--retention-days) is '{days}'; it takes at least {min_days}, \
                 because IDEMPOTENCY_KEY_TTL_SECONDS is {ttl}"
            ))),
            None => Ok(()),
        }
    }

    fn config(&self) -> order::Config {
        order::Config {
            inventory_url: self.inventory_service_url.clone(),
            payment_url: self.payment_service_url.clone(),
            step_timeout: Duration::from_millis(self.downstream_timeout_ms),
            service_token: self.service.service_token.clone(),
            database_url: self.service.database_url.clone(),
            remote_databases: self.remote_databases.config(),
            retention_days: self.retention_days,
            dashboard: order::Dashboard {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                trace_url: self.dashboard.trace_url.clone(),
                grafana_url: self.dashboard.grafana_url.clone(),
                recovery_bound_seconds: self.recovery_bound.recovery_bound_seconds,
                demo: self.demo_control.demo_control_url.is_some(),
            },
            demo_control: self.demo_control.config(),
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
