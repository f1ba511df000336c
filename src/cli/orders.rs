//! `valerix orders`

use chrono::{DateTime, Utc};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use uuid::Uuid;

use super::default_urls::local_url;
use super::error::Takes;
use super::examples;
use super::operator_command;
use super::outcome::Outcome;
use super::parsers::{base_url, boolean, in_range, product_id};
use super::shared::OperatorTokenArgs;
use crate::api::OrderStatus;
use crate::orders::{Command, Filter, OrdersClient};
use crate::platform::client::BaseUrl;
use crate::testbed::service_kind::ServiceKind;

/// A list of this length takes one call for each 100 orders.
const MAX_LISTED: usize = 100_000;

#[derive(Debug, Args)]
pub struct OrdersArgs {
    #[command(subcommand)]
    command: OrdersCommand,
    /// Address of the order service
    #[arg(long, env = "ORDER_SERVICE_URL", global = true,
          default_value_t = local_url(ServiceKind::Order), value_parser = base_url)]
    url: BaseUrl,
    #[command(flatten)]
    operator: OperatorTokenArgs,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum OrdersCommand {
    /// List orders, newest first
    #[command(after_help = examples::ORDERS_LIST)]
    List(ListArgs),
    /// Show an order: its fields, each attempt to finish it, and what it owes
    Show(OrderArg),
    /// Cancel a pending or confirmed order, and give its stock and its money back
    Cancel(OrderArg),
    /// Ship the goods of a confirmed order
    Fulfil(OrderArg),
    /// Retry now what an unsettled order waits for or owes
    Retry(OrderArg),
}

#[derive(Debug, Args)]
struct OrderArg {
    /// Id of the order
    #[arg(value_parser = order_id)]
    id: Uuid,
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Only orders with this status
    #[arg(long, ignore_case = true, value_parser = status())]
    status: Option<OrderStatus>,
    /// Only orders of this product
    #[arg(long, value_parser = product_id)]
    product_id: Option<String>,
    /// true: only orders that have ended and owe nothing; false: only the others
    #[arg(long, value_name = "true|false", value_parser = boolean)]
    settled: Option<bool>,
    /// Only orders created after this time, such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    created_after: Option<DateTime<Utc>>,
    /// Only orders created before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    created_before: Option<DateTime<Utc>>,
    /// Number of orders, at most 100000
    #[arg(long, default_value_t = 20, value_parser = limit)]
    limit: usize,
    /// Continue an earlier list, which ended with this cursor
    #[arg(long)]
    cursor: Option<String>,
}

impl From<OrdersCommand> for Command {
    fn from(command: OrdersCommand) -> Self {
        match command {
            OrdersCommand::List(args) => args.into(),
            OrdersCommand::Show(order) => Self::Show(order.id),
            OrdersCommand::Cancel(order) => Self::Cancel(order.id),
            OrdersCommand::Fulfil(order) => Self::Fulfil(order.id),
            OrdersCommand::Retry(order) => Self::Retry(order.id),
        }
    }
}

impl From<ListArgs> for Command {
    fn from(args: ListArgs) -> Self {
        Self::List {
            filter: Filter {
                status: args.status,
                product_id: args.product_id,
                settled: args.settled,
                created_after: args.created_after,
                created_before: args.created_before,
            },
            limit: args.limit,
            cursor: args.cursor,
        }
    }
}

impl OrdersArgs {
    pub async fn run(self) -> Outcome {
        let client = OrdersClient::new(&self.url, self.operator.token.as_deref());
        operator_command::run(client.run(self.command.into()), self.json).await
    }
}

fn order_id(text: &str) -> Result<Uuid, Takes> {
    text.parse().map_err(|_| {
        Takes::text("the id of an order, such as 0198f3e4-7c1a-7b3e-9d2c-0d7c1a5b9e01")
    })
}

/// The statuses, so that shells can complete them.
fn status() -> impl TypedValueParser<Value = OrderStatus> {
    let names = OrderStatus::ALL.iter().map(|status| status.as_str());
    PossibleValuesParser::new(names)
        .try_map(|name| name.to_ascii_uppercase().parse::<OrderStatus>())
}

fn time(text: &str) -> Result<DateTime<Utc>, Takes> {
    let time = DateTime::parse_from_rfc3339(text).map(Into::into);
    time.map_err(|_| Takes::text("a time such as 2026-01-31T12:00:00Z (RFC 3339)"))
}

fn limit(text: &str) -> Result<usize, Takes> {
    in_range(text, &(1..=MAX_LISTED), "a whole number")
}
