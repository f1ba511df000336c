//! `valerix inventory`

use clap::Args;

use super::outcome::Outcome;
use super::service::ServiceArgs;
use super::service_command::{self, ServiceCommand};
use crate::inventory::InventoryService;
use crate::platform::service::{Config, Platform};
use crate::testbed::service_kind::ServiceKind;

#[derive(Debug, Args)]
pub struct InventoryArgs {
    #[command(flatten)]
    service: ServiceArgs,
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
        (self.service.config(Self::KIND), |_: &Platform| {
            Ok(InventoryService)
        })
    }
}
