//! `valerix gremlin`

use std::process::ExitCode;
use std::str::FromStr;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use tokio::task::LocalSet;

use super::default_urls::local_url;
use super::error::Takes;
use super::examples;
use super::number_parsers::whole_number;
use super::outcome::{Outcome, exit_on_signal, listen_for_shutdown, stopped};
use super::parsers::{base_url, delay_ms, fraction, token};
use crate::gremlin::{self, Command, Target, tour};
use crate::inventory::InventoryService;
use crate::order::OrderService;
use crate::payment::PaymentService;
use crate::platform::client::BaseUrl;
use crate::platform::fault_injection::Latency;
use crate::platform::output;
use crate::platform::service::Role;
use crate::testbed::service_kind::ServiceKind;

const ORDER: &str = OrderService::SERVICE;
const INVENTORY: &str = InventoryService::SERVICE;
const PAYMENT: &str = PaymentService::SERVICE;

#[derive(Debug, Args)]
pub struct GremlinArgs {
    #[command(subcommand)]
    command: GremlinCommand,
    #[command(flatten)]
    urls: ServiceUrls,
    /// Token of the gremlin, as the services have it
    #[arg(long, env = "GREMLIN_TOKEN", hide_env_values = true, value_parser = token,
          global = true)]
    token: Option<String>,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Addresses")]
struct ServiceUrls {
    /// Address of the order service
    #[arg(long = "order-service-url", env = "ORDER_SERVICE_URL", global = true,
          default_value_t = local_url(ServiceKind::Order), value_parser = base_url)]
    order: BaseUrl,
    /// Address of the inventory service
    #[arg(long = "inventory-service-url", env = "INVENTORY_SERVICE_URL", global = true,
          default_value_t = local_url(ServiceKind::Inventory), value_parser = base_url)]
    inventory: BaseUrl,
    /// Address of the payment service
    #[arg(long = "payment-service-url", env = "PAYMENT_SERVICE_URL", global = true,
          default_value_t = local_url(ServiceKind::Payment), value_parser = base_url)]
    payment: BaseUrl,
}

#[derive(Debug, Subcommand)]
enum GremlinCommand {
    /// Delay the responses of a service, except its probes, metrics and gremlin routes
    On {
        #[command(flatten)]
        service: ServiceArg,
        /// Delay in milliseconds
        #[arg(long, default_value_t = 3000, value_parser = delay_ms)]
        delay_ms: u32,
    },
    /// End the delay
    Off {
        #[command(flatten)]
        service: ServiceArg,
    },
    /// Show the delay and the rules of each service
    Status {
        #[command(flatten)]
        service: ServiceArg,
    },
    /// Add a rule
    #[command(after_help = examples::GREMLIN_ADD)]
    Add(Box<AddArgs>),
    /// Remove a rule, or all rules
    Rm {
        #[command(flatten)]
        service: ServiceArg,
        /// Number of the rule
        #[arg(required_unless_present = "all", value_parser = rule_id)]
        id: Option<u32>,
        /// Remove all rules of the service
        #[arg(long, conflicts_with = "id")]
        all: bool,
    },
    /// Demonstrate health checks, a slow service and each kind of fault on the running platform, or
    /// on a private one if none runs; exit 1 if a check fails
    Tour {
        /// Wait for Enter between the steps; only at a terminal, and not with --json
        #[arg(long)]
        pause: bool,
    },
}

#[derive(Debug, Args)]
struct ServiceArg {
    /// Service: order, inventory, payment, all, or an address [default: inventory; for status: all]
    #[arg(long, short)]
    service: Option<Selection>,
}

#[derive(Debug, Args)]
struct AddArgs {
    #[command(flatten)]
    service: ServiceArg,
    /// Kind of fault: latency, error, drop (closes the connection, handler not run), vanish
    /// (commits, then closes the connection), crash (commits, then aborts the process) or hang
    /// (never answers)
    kind: String,
    /// latency: delay in milliseconds [default: 3000]
    #[arg(long, value_parser = whole_number, help_heading = "Fault")]
    delay_ms: Option<i64>,
    /// latency: random deviation of the delay, at most this many milliseconds up or down
    #[arg(long, value_parser = whole_number, help_heading = "Fault")]
    jitter_ms: Option<i64>,
    /// error: HTTP status [default: 500]
    #[arg(long, value_parser = whole_number, help_heading = "Fault")]
    status: Option<i64>,
    /// inbound (requests that the service receives) or outbound (calls that it makes) [default:
    /// inbound]
    #[arg(long, help_heading = "Only some requests")]
    direction: Option<String>,
    /// outbound: only calls to this service, such as payment-service
    #[arg(long, help_heading = "Only some requests")]
    dependency: Option<String>,
    /// Only this route, such as /inventory/reserve
    #[arg(long, help_heading = "Only some requests")]
    route: Option<String>,
    /// Only this HTTP method
    #[arg(long, help_heading = "Only some requests")]
    method: Option<String>,
    /// Only requests for this product
    #[arg(long, help_heading = "Only some requests")]
    product_id: Option<String>,
    /// Probability with which the rule fires for a matching request, from 0 to 1
    #[arg(long, value_parser = fraction, help_heading = "How often")]
    probability: Option<f64>,
    /// Seed of the random choices, with --probability or --jitter-ms
    #[arg(long, value_parser = whole_number, help_heading = "How often")]
    seed: Option<i64>,
    /// Fire for every Nth matching request
    #[arg(long, value_parser = whole_number, help_heading = "How often")]
    every: Option<i64>,
    /// Which one of every N requests to fire for, with --every
    #[arg(long, value_parser = whole_number, help_heading = "How often")]
    offset: Option<i64>,
    /// Seconds after which the rule ends
    #[arg(long, value_parser = whole_number, help_heading = "How long")]
    ttl_seconds: Option<i64>,
    /// Number of fires after which the rule ends
    #[arg(long, value_parser = whole_number, help_heading = "How long")]
    max_fires: Option<i64>,
}

/// The services that a command applies to.
#[derive(Debug, Clone)]
enum Selection {
    Order,
    Inventory,
    Payment,
    All,
    Address { url: BaseUrl, text: String },
}

impl FromStr for Selection {
    type Err = Takes;

    fn from_str(text: &str) -> Result<Self, Takes> {
        Ok(match text {
            "order" | ORDER => Self::Order,
            "inventory" | INVENTORY => Self::Inventory,
            "payment" | PAYMENT => Self::Payment,
            "all" => Self::All,
            address => Self::Address {
                url: base_url(address).map_err(|_| {
                    Takes::text("order, inventory, payment, all or http://host:port")
                })?,
                text: address.to_owned(),
            },
        })
    }
}

fn rule_id(text: &str) -> Result<u32, Takes> {
    text.parse()
        .map_err(|_| Takes::text("the number of a rule, as 'valerix gremlin status' shows it"))
}

impl ServiceArg {
    fn or(self, default: Selection) -> Selection {
        self.service.unwrap_or(default)
    }
}

impl ServiceUrls {
    fn targets(self, selection: Selection) -> Vec<Target> {
        let target = |name: &str, url| Target {
            name: name.to_owned(),
            url,
        };
        let order = target(ORDER, self.order);
        let inventory = target(INVENTORY, self.inventory);
        let payment = target(PAYMENT, self.payment);
        match selection {
            Selection::Order => vec![order],
            Selection::Inventory => vec![inventory],
            Selection::Payment => vec![payment],
            Selection::All => vec![order, inventory, payment],
            Selection::Address { url, text } => vec![target(&text, url)],
        }
    }
}

/// The task of a command line, and the services that it concerns.
enum Task {
    Apply(Command, Selection),
    Tour { pause: bool },
}

impl GremlinCommand {
    fn task(self) -> Task {
        match self {
            Self::On { service, delay_ms } => {
                let command = Command::SetLatency(Latency {
                    enabled: true,
                    delay_ms,
                });
                Task::Apply(command, service.or(Selection::Inventory))
            }
            Self::Off { service } => {
                let command = Command::SetLatency(Latency {
                    enabled: false,
                    delay_ms: 0,
                });
                Task::Apply(command, service.or(Selection::Inventory))
            }
            Self::Status { service } => {
                Task::Apply(Command::ShowStatus, service.or(Selection::All))
            }
            Self::Rm { service, id, .. } => {
                let command = id.map_or(Command::RemoveAllRules, Command::RemoveRule);
                Task::Apply(command, service.or(Selection::Inventory))
            }
            Self::Add(args) => {
                let command = Command::AddRule(args.rule());
                Task::Apply(command, args.service.or(Selection::Inventory))
            }
            Self::Tour { pause } => Task::Tour { pause },
        }
    }
}

impl GremlinArgs {
    pub async fn run(self) -> Outcome {
        let local = LocalSet::new();
        let (command, selection) = match self.command.task() {
            Task::Apply(command, selection) => (command, selection),
            Task::Tour { pause } => {
                let config = tour::Config {
                    urls: [self.urls.order, self.urls.inventory, self.urls.payment],
                    token: self.token,
                    json: self.json,
                    pause,
                };
                return local.run_until(run_tour(config)).await;
            }
        };
        exit_on_signal()?;
        let targets = self.urls.targets(selection);
        let applied = gremlin::run(&targets, self.token.as_deref(), &command, self.json);
        match local.run_until(applied).await {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(errors) => {
                errors.iter().for_each(output::print_error);
                Ok(ExitCode::FAILURE)
            }
        }
    }
}

async fn run_tour(config: tour::Config) -> Outcome {
    if config.pause && (config.json || !tour::Pause::is_possible()) {
        output::print_error(
            "--pause waits for Enter; it takes a terminal as input and output, and no --json",
        );
        return Ok(ExitCode::from(2));
    }
    let Some(report) = tour::run(config, &listen_for_shutdown()?).await? else {
        return Ok(stopped());
    };
    if !report.passed {
        let (checks, failures) = (report.checks, report.failures);
        return Err(format!("tour: {failures} of {checks} checks failed").into());
    }
    Ok(ExitCode::SUCCESS)
}

impl AddArgs {
    /// The fields that were set, unchecked: the service checks them and names those it rejects.
    fn rule(&self) -> Map<String, Value> {
        let fields = [
            ("kind", json!(self.kind)),
            ("delay_ms", json!(self.delay_ms)),
            ("jitter_ms", json!(self.jitter_ms)),
            ("status", json!(self.status)),
            ("direction", json!(self.direction)),
            ("dependency", json!(self.dependency)),
            ("route", json!(self.route)),
            ("method", json!(self.method)),
            ("product_id", json!(self.product_id)),
            ("probability", json!(self.probability)),
            ("seed", json!(self.seed)),
            ("every", json!(self.every)),
            ("offset", json!(self.offset)),
            ("ttl_seconds", json!(self.ttl_seconds)),
            ("max_fires", json!(self.max_fires)),
        ];
        let set = fields.into_iter().filter(|(_, value)| !value.is_null());
        set.map(|(name, value)| (name.to_owned(), value)).collect()
    }
}
