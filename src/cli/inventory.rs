//! `valerix inventory`

use std::process::ExitCode;

use clap::Args;

use super::outcome::Outcome;
use super::service::ServiceArgs;
use crate::inventory::InventoryService;
use crate::platform::service;
use crate::testbed::service_kind::ServiceKind;

#[derive(Debug, Args)]
pub struct InventoryArgs {
    #[command(flatten)]
    service: ServiceArgs,
}

impl InventoryArgs {
    pub async fn run(self) -> Outcome {
        service::run(self.service.config(ServiceKind::Inventory), |_| {
            Ok(InventoryService)
        })
        .await?;
        Ok(ExitCode::SUCCESS)
    }
}
