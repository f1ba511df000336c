//! `valerix describe`

use std::process::ExitCode;

use clap::Args;

use super::default_ports;
use super::otlp::READ_BY_OPENTELEMETRY;
use super::outcome::{Outcome, print_report};
use super::secret_files::file_variables;
use super::service::DEFAULT_DATABASE_POOL_SIZE;
use crate::describe::{Description, Inputs, Service};
use crate::inventory::InventoryService;
use crate::order::OrderService;
use crate::payment::PaymentService;
use crate::platform::service::Role;

#[derive(Debug, Args)]
pub struct DescribeArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl DescribeArgs {
    /// Prints the description of the program whose command line is `command`.
    pub fn run(&self, command: &clap::Command) -> Outcome {
        let by_opentelemetry = READ_BY_OPENTELEMETRY.iter().map(ToString::to_string);
        let description = Description::new(Inputs {
            command,
            services: vec![
                service::<OrderService>("order", default_ports::ORDER),
                service::<InventoryService>("inventory", default_ports::INVENTORY),
                service::<PaymentService>("payment", default_ports::PAYMENT),
            ],
            variables_without_flag: by_opentelemetry.chain(file_variables(command)).collect(),
            default_database_pool_size: DEFAULT_DATABASE_POOL_SIZE,
        });
        print_report(&description, self.json)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn service<R: Role>(command: &'static str, default_port: u16) -> Service {
    Service {
        command,
        service_name: R::SERVICE,
        default_port,
    }
}
