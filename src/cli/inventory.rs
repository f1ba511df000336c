//! `valerix inventory`

use clap::Args;

use super::outcome::Outcome;
use super::service::ServiceArgs;
use super::service_command::{self, ServiceCommand};
use super::shared::OperatorTokenArgs;
use crate::inventory::InventoryService;
use crate::platform::service::{Config, Platform};
use crate::testbed::service_kind::ServiceKind;

#[derive(Debug, Args)]
pub struct InventoryArgs {
    #[command(flatten)]
    service: ServiceArgs,
    #[command(flatten, next_help_heading = "Options of the inventory service")]
    operator: OperatorTokenArgs,
}

impl InventoryArgs {
    pub async fn run(self) -> Outcome {
        service_command::run(self).await
    }
}

impl ServiceCommand for InventoryArgs {
    type Service = InventoryService;
    const KIND: ServiceKind = ServiceKind::Inventory;

    fn into_parts(
        self,
    ) -> (
        Config,
        impl FnOnce(&Platform) -> prometheus::Result<InventoryService>,
    ) {
        let config = Config {
            operator_token: self.operator.token,
            ..self.service.config(Self::KIND)
        };
        (config, InventoryService::new)
    }
}
