//! `valerix stock`

use clap::{Args, Subcommand};

use super::default_urls::local_url;
use super::error::Takes;
use super::examples;
use super::operator_command;
use super::outcome::Outcome;
use super::parsers::{base_url, in_range, product_id};
use super::shared::OperatorTokenArgs;
use crate::api::MAX_STOCK;
use crate::platform::client::BaseUrl;
use crate::stock::{Command, StockClient};
use crate::testbed::service_kind::ServiceKind;

#[derive(Debug, Args)]
pub struct StockArgs {
    #[command(subcommand)]
    command: StockCommand,
    /// Address of the inventory service
    #[arg(long, env = "INVENTORY_SERVICE_URL", global = true,
          default_value_t = local_url(ServiceKind::Inventory), value_parser = base_url)]
    url: BaseUrl,
    #[command(flatten)]
    operator: OperatorTokenArgs,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum StockCommand {
    /// List the stock of all products
    List,
    /// Deliver units of a product; a negative quantity is a correction
    #[command(after_help = examples::STOCK_ADD)]
    Add {
        /// Product to deliver
        #[arg(value_name = "PRODUCT", value_parser = product_id)]
        product_id: String,
        /// Units to add, or to remove if negative
        #[arg(allow_negative_numbers = true, value_parser = delivered_quantity)]
        quantity: i32,
        /// Id of the delivery: repeated with the same id, nothing is delivered twice [default: a
        /// new one]
        #[arg(long, value_parser = delivery_id)]
        delivery_id: Option<String>,
    },
    /// Create a product; one that exists stays as it is
    Create {
        /// Product to create
        #[arg(value_name = "PRODUCT", value_parser = product_id)]
        product_id: String,
        /// Units in stock
        #[arg(long, default_value_t = 0, allow_negative_numbers = true, value_parser = units)]
        stock: i32,
    },
}

impl From<StockCommand> for Command {
    fn from(command: StockCommand) -> Self {
        match command {
            StockCommand::List => Self::List,
            StockCommand::Add {
                product_id,
                quantity,
                delivery_id,
            } => Self::Add {
                product_id,
                quantity,
                delivery_id,
            },
            StockCommand::Create { product_id, stock } => Self::Create { product_id, stock },
        }
    }
}

impl StockArgs {
    pub async fn run(self) -> Outcome {
        let client = StockClient::new(&self.url, self.operator.token.as_deref());
        operator_command::run(client.run(self.command.into()), self.json).await
    }
}

/// The stock of a new product.
fn units(text: &str) -> Result<i32, Takes> {
    in_range(text, &(0..=MAX_STOCK), "whole units")
}

/// The units of a delivery, or those that a correction removes.
fn delivered_quantity(text: &str) -> Result<i32, Takes> {
    let quantity = in_range(text, &(-MAX_STOCK..=MAX_STOCK), "whole units")?;
    if quantity == 0 {
        return Err(Takes::text("a quantity other than 0"));
    }
    Ok(quantity)
}

fn delivery_id(text: &str) -> Result<String, Takes> {
    (1..=255)
        .contains(&text.chars().count())
        .then(|| text.to_owned())
        .ok_or_else(|| Takes::text("an id of 1 to 255 characters"))
}
