//! The commands.

use clap::{Parser, Subcommand};

use super::audit::AuditArgs;
use super::completions::CompletionsArgs;
use super::demo::DemoArgs;
use super::describe::DescribeArgs;
use super::error::ConfigError;
use super::examples;
use super::gremlin::GremlinArgs;
use super::healthcheck::HealthcheckArgs;
use super::inventory::InventoryArgs;
use super::load::LoadArgs;
use super::migrate::MigrateArgs;
use super::order::OrderArgs;
use super::orders::OrdersArgs;
use super::payment::PaymentArgs;
use super::prove::ProveArgs;
use super::retention::RetentionArgs;
use super::soak::SoakArgs;
use super::stock::StockArgs;

/// An order platform that keeps accepting orders while its dependencies fail, and finishes each
/// order exactly once
#[derive(Debug, Parser)]
#[command(version, max_term_width = 80, after_help = examples::ALL)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the order service (port 5001)
    #[command(after_help = examples::ORDER)]
    Order(OrderArgs),
    /// Run the inventory service (port 5002)
    #[command(after_help = examples::INVENTORY)]
    Inventory(InventoryArgs),
    /// Run the payment service (port 5003)
    #[command(after_help = examples::PAYMENT)]
    Payment(PaymentArgs),
    /// Run all three services, on a private database unless `DATABASE_URL` is set
    #[command(after_help = examples::DEMO)]
    Demo(DemoArgs),
    /// Apply the schema migrations
    #[command(after_help = examples::MIGRATE)]
    Migrate(MigrateArgs),
    /// Inject faults into running services, list or remove them, or take a tour
    #[command(after_help = examples::GREMLIN)]
    Gremlin(GremlinArgs),
    /// Check the invariants on a live database; exit 1 on a violation, 2 if they could not be
    /// checked
    #[command(after_help = examples::AUDIT)]
    Audit(AuditArgs),
    /// Run a seeded chaos campaign against freshly started services; exit 0 proved, 1 broken, 2
    /// incomplete
    #[command(after_help = examples::PROVE)]
    Prove(ProveArgs),
    /// Run freshly started services under load and faults for a long time; exit 0 passed, 1
    /// failed, 2 inconclusive
    #[command(after_help = examples::SOAK)]
    Soak(SoakArgs),
    /// Place orders at a fixed rate (open-loop load) and print their latencies
    #[command(after_help = examples::LOAD)]
    Load(LoadArgs),
    /// List the stock of a running platform, create products and deliver units; exit 1 if the
    /// service refuses
    #[command(after_help = examples::STOCK)]
    Stock(StockArgs),
    /// List and show the orders of a running platform, cancel, fulfil and retry them; exit 1 if
    /// the service refuses
    #[command(after_help = examples::ORDERS)]
    Orders(OrdersArgs),
    /// Delete old orders of a running platform, or count them; exit 1 if some cannot be deleted
    #[command(after_help = examples::RETENTION)]
    Retention(RetentionArgs),
    /// Check that a service runs, by GET /livez; exit 0 if it answers, otherwise 1
    #[command(after_help = examples::HEALTHCHECK)]
    Healthcheck(HealthcheckArgs),
    /// Print the services, routes, ports, environment variables and limits of this program
    #[command(after_help = examples::DESCRIBE)]
    Describe(DescribeArgs),
    /// Print a completion script for a shell
    #[command(after_help = examples::COMPLETIONS)]
    Completions(CompletionsArgs),
}

impl Command {
    /// Checks values against each other, after clap has checked each value by itself.
    ///
    /// # Errors
    /// One line that names the argument, its value and what it takes.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        match self {
            Self::Order(args) => args.check(),
            Self::Demo(args) => args.check(),
            _ => Ok(()),
        }
    }
}
