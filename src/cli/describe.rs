//! `valerix describe`

use std::process::ExitCode;

use clap::Args;

use super::otlp::READ_BY_OPENTELEMETRY;
use super::outcome::{Outcome, print_report};
use super::secret_files::file_variables;
use super::service::DEFAULT_DATABASE_POOL_SIZE;
use crate::describe::{Description, Inputs, Service};
use crate::inventory::InventoryService;
use crate::order::OrderService;
use crate::payment::PaymentService;
use crate::platform::service::Role;
use crate::testbed::service_kind::ServiceKind;

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
                service::<OrderService>(ServiceKind::Order),
                service::<InventoryService>(ServiceKind::Inventory),
                service::<PaymentService>(ServiceKind::Payment),
            ],
            variables_without_flag: by_opentelemetry.chain(file_variables(command)).collect(),
            default_database_pool_size: DEFAULT_DATABASE_POOL_SIZE,
        });
        print_report(&description, self.json)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn service<R: Role>(kind: ServiceKind) -> Service {
    Service {
        command: kind.as_str(),
        service_name: R::SERVICE,
        default_port: kind.default_port(),
    }
}
