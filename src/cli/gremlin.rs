//! The flags of `valerix gremlin`.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::parsers::{base_url, delay, token};
use crate::gremlin::tour;
use crate::gremlin::{Target, Wish};
use crate::platform::client::BaseUrl;
use crate::platform::fault_injection::Latency;

const ORDER: &str = "order-service";
const INVENTORY: &str = "inventory-service";
const PAYMENT: &str = "payment-service";

#[derive(Debug, Args)]
pub struct GremlinArgs {
    #[command(subcommand)]
    command: GremlinCommand,
    #[command(flatten)]
    urls: Urls,
    /// The services' token
    #[arg(long, env = "GREMLIN_TOKEN", hide_env_values = true, value_parser = token, global = true)]
    token: Option<String>,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Args)]
struct Urls {
    #[arg(long = "order-service-url", env = "ORDER_SERVICE_URL", default_value = "http://127.0.0.1:5001", value_parser = base_url, global = true)]
    order: BaseUrl,
    #[arg(long = "inventory-service-url", env = "INVENTORY_SERVICE_URL", default_value = "http://127.0.0.1:5002", value_parser = base_url, global = true)]
    inventory: BaseUrl,
    #[arg(long = "payment-service-url", env = "PAYMENT_SERVICE_URL", default_value = "http://127.0.0.1:5003", value_parser = base_url, global = true)]
    payment: BaseUrl,
}

#[derive(Debug, Subcommand)]
enum GremlinCommand {
    /// Make every answer of a service late
    On {
        #[command(flatten)]
        on: Which,
        /// By so much
        #[arg(long, default_value_t = 3000, value_parser = delay)]
        delay_ms: u64,
    },
    /// End that
    Off {
        #[command(flatten)]
        on: Which,
    },
    /// Show what is being broken, where
    Status {
        #[command(flatten)]
        on: Which,
    },
    /// Add a rule
    Add(Box<AddArgs>),
    /// Remove a rule, or all
    Rm {
        #[command(flatten)]
        on: Which,
        /// The rule's number
        #[arg(required_unless_present = "all")]
        id: Option<u32>,
        /// All rules of the service
        #[arg(long, conflicts_with = "id")]
        all: bool,
    },
    /// Walk through the checklist and each kind of fault on a running platform, or on one started
    /// for it; exit 1 when something is not as it should be
    Tour,
}

#[derive(Debug, Args)]
struct Which {
    /// order, inventory, payment, all, or an address [default: inventory; for status: all]
    #[arg(
        long = "on",
        short = 's',
        visible_alias = "service",
        value_name = "SERVICE"
    )]
    service: Option<String>,
}

#[derive(Debug, Args)]
struct AddArgs {
    #[command(flatten)]
    on: Which,
    /// latency, error, drop, vanish (commits, then no answer), crash (commits, then aborts) or
    /// hang
    kind: String,
    /// latency: how long [default: 3000]
    #[arg(long, allow_negative_numbers = true)]
    delay_ms: Option<i64>,
    /// latency: up to so much more or less
    #[arg(long, allow_negative_numbers = true)]
    jitter_ms: Option<i64>,
    /// error: its status [default: 500]
    #[arg(long)]
    status: Option<i64>,
    /// inbound or outbound: requests that come to the service, or calls that it makes [default:
    /// inbound]
    #[arg(long)]
    direction: Option<String>,
    /// outbound: calls to this service alone, such as payment-service
    #[arg(long)]
    dependency: Option<String>,
    /// Only this route, such as /inventory/reserve
    #[arg(long)]
    route: Option<String>,
    /// Only this method
    #[arg(long)]
    method: Option<String>,
    /// Only requests for this product
    #[arg(long)]
    product_id: Option<String>,
    /// Share of the matching requests, at random
    #[arg(long, allow_negative_numbers = true)]
    probability: Option<f64>,
    /// With probability: the same seed, the same choices
    #[arg(long)]
    seed: Option<i64>,
    /// Each Nth matching request
    #[arg(long)]
    every: Option<i64>,
    /// With every: which one of the N
    #[arg(long)]
    offset: Option<i64>,
    /// Ends after so long
    #[arg(long)]
    ttl_seconds: Option<i64>,
    /// Ends after so many hits
    #[arg(long)]
    max_fires: Option<i64>,
}

/// What `valerix gremlin` is to do.
pub enum GremlinTask {
    Grant {
        targets: Vec<Target>,
        token: Option<String>,
        wish: Wish,
        json: bool,
    },
    Tour {
        config: tour::Config,
        json: bool,
    },
}

impl GremlinArgs {
    /// # Errors
    /// In words, when a service is neither a name nor an address.
    pub fn task(self) -> Result<GremlinTask, String> {
        let Self {
            command,
            urls,
            token,
            json,
        } = self;
        let (wish, which) = match command {
            GremlinCommand::On { on, delay_ms } => {
                let delay_ms = i32::try_from(delay_ms).unwrap_or(i32::MAX);
                (
                    Wish::Latency(Latency {
                        enabled: true,
                        delay_ms,
                    }),
                    on.or("inventory"),
                )
            }
            GremlinCommand::Off { on } => (
                Wish::Latency(Latency {
                    enabled: false,
                    delay_ms: 0,
                }),
                on.or("inventory"),
            ),
            GremlinCommand::Status { on } => (Wish::Status, on.or("all")),
            GremlinCommand::Rm { on, id, .. } => {
                (id.map_or(Wish::Clear, Wish::Remove), on.or("inventory"))
            }
            GremlinCommand::Add(args) => (Wish::Add(args.spec()), args.on.or("inventory")),
            GremlinCommand::Tour => {
                let urls = [urls.order, urls.inventory, urls.payment];
                return Ok(GremlinTask::Tour {
                    config: tour::Config { urls, token },
                    json,
                });
            }
        };
        Ok(GremlinTask::Grant {
            targets: urls.targets(&which)?,
            token,
            wish,
            json,
        })
    }
}

impl Which {
    fn or(&self, default: &str) -> String {
        self.service.clone().unwrap_or_else(|| default.to_owned())
    }
}

impl Urls {
    fn targets(&self, which: &str) -> Result<Vec<Target>, String> {
        let target = |name: &str, url: &BaseUrl| Target {
            name: name.to_owned(),
            url: url.clone(),
        };
        let order = target(ORDER, &self.order);
        let inventory = target(INVENTORY, &self.inventory);
        let payment = target(PAYMENT, &self.payment);
        Ok(match which {
            "order" | ORDER => vec![order],
            "inventory" | INVENTORY => vec![inventory],
            "payment" | PAYMENT => vec![payment],
            "all" => vec![order, inventory, payment],
            address => {
                let url = base_url(address).map_err(|_| {
                    format!(
                        "--on is '{address}'; it takes order, inventory, payment, all or http://host:port"
                    )
                })?;
                vec![target(address, &url)]
            }
        })
    }
}

impl AddArgs {
    /// The fields as they were given: the service checks them, so that there is one place that
    /// does.
    fn spec(&self) -> Map<String, Value> {
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
        let given = fields.into_iter().filter(|(_, value)| !value.is_null());
        given
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }
}
