//! `valerix describe`

use std::error::Error;
use std::process::ExitCode;

use clap::Args;

use super::inventory::InventoryArgs;
use super::order::OrderArgs;
use super::otlp::READ_BY_OPENTELEMETRY;
use super::outcome::{Outcome, print_report};
use super::payment::PaymentArgs;
use super::secret_files::file_variables;
use super::service::DEFAULT_DATABASE_POOL_SIZE;
use super::service_command::{ServiceCommand, default_args};
use crate::describe::{Description, Inputs, Route, Service};
use crate::platform::service::{Role, routes_of};

#[derive(Debug, Args)]
pub struct DescribeArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl DescribeArgs {
    /// Prints the description of the program whose command line is `command`. Must be called on a
    /// runtime.
    pub fn run(&self, command: &clap::Command) -> Outcome {
        let by_opentelemetry = READ_BY_OPENTELEMETRY.iter().map(ToString::to_string);
        let description = Description::new(Inputs {
            command,
            services: vec![
                service::<OrderArgs>()?,
                service::<InventoryArgs>()?,
                service::<PaymentArgs>()?,
            ],
            variables_without_flag: by_opentelemetry.chain(file_variables(command)).collect(),
            default_database_pool_size: DEFAULT_DATABASE_POOL_SIZE,
        });
        print_report(&description, self.json)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn service<C: ServiceCommand>() -> Result<Service, Box<dyn Error>> {
    let (config, create) = default_args::<C>()?.into_parts();
    let routes = routes_of(&config, create)?.into_iter();
    Ok(Service {
        command: C::KIND.as_str(),
        service_name: C::Service::SERVICE,
        default_port: C::KIND.default_port(),
        routes: routes
            .map(|(method, path)| Route {
                path,
                method: method.to_string(),
            })
            .collect(),
    })
}
