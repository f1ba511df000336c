//! `valerix payment`

use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::outcome::Outcome;
use super::parsers::{delay_ms, fraction, seed};
use super::service::ServiceArgs;
use super::service_command::{self, ServiceCommand};
use crate::payment::PaymentService;
use crate::payment::gateway::MockGateway;
use crate::platform::service::{Config, Platform};
use crate::testbed::service_kind::ServiceKind;

const HEADING: &str = "Options of the payment service";

#[derive(Debug, Args)]
pub struct PaymentArgs {
    #[command(flatten)]
    service: ServiceArgs,
    /// Fraction of the charges that the mock gateway approves, from 0 to 1
    #[arg(long, help_heading = HEADING, env = "PAYMENT_SUCCESS_RATE", default_value_t = 0.9,
          value_parser = fraction)]
    payment_success_rate: f64,
    /// Seed of the mock gateway: it decides by the seed and the order's id [default: random]
    #[arg(long, help_heading = HEADING, env = "PAYMENT_SEED", value_parser = seed)]
    payment_seed: Option<u64>,
    /// Milliseconds that the mock gateway takes for a charge
    #[arg(long, help_heading = HEADING, env = "PAYMENT_LATENCY_MS", default_value_t = 0,
          value_parser = delay_ms)]
    payment_latency_ms: u32,
}

impl PaymentArgs {
    fn gateway(&self) -> MockGateway {
        MockGateway {
            success_rate: self.payment_success_rate,
            seed: self.payment_seed.unwrap_or_else(rand::random),
            latency: Duration::from_millis(self.payment_latency_ms.into()),
        }
    }

    pub async fn run(self) -> Outcome {
        service_command::run(self).await
    }
}

impl ServiceCommand for PaymentArgs {
    type Service = PaymentService;
    const KIND: ServiceKind = ServiceKind::Payment;

    fn into_parts(
        self,
    ) -> (
        Config,
        impl FnOnce(&Platform) -> prometheus::Result<PaymentService>,
    ) {
        let service = PaymentService {
            gateway: Arc::new(self.gateway()),
        };
        (self.service.config(Self::KIND), |_: &Platform| Ok(service))
    }
}
