//! `valerix inventory`

use std::process::ExitCode;

use clap::Args;

use super::default_ports;
use super::outcome::Outcome;
use super::service::ServiceArgs;
use crate::inventory::InventoryService;
use crate::platform::service;

#[derive(Debug, Args)]
pub struct InventoryArgs {
    #[command(flatten)]
    service: ServiceArgs,
}

impl InventoryArgs {
    pub async fn run(self) -> Outcome {
        service::run(self.service.config(default_ports::INVENTORY), |_| {
            Ok(InventoryService)
        })
        .await?;
        Ok(ExitCode::SUCCESS)
    }
}
