//! `valerix demo`

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::error::ConfigError;
use super::number_parsers::path;
use super::outcome::{Outcome, listen_for_shutdown};
use super::parsers::{database_url, delay_ms, ip_address, port};
use crate::demo;
use crate::platform::db::DatabaseUrl;
use crate::testbed::service_kind::ServiceKind;

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// IP address to listen on
    #[arg(long, env = "HOST", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST),
          value_parser = ip_address)]
    host: IpAddr,
    /// Port of the order service
    #[arg(long, default_value_t = ServiceKind::Order.default_port(), value_parser = port)]
    order_port: u16,
    /// Port of the inventory service
    #[arg(long, default_value_t = ServiceKind::Inventory.default_port(), value_parser = port)]
    inventory_port: u16,
    /// Port of the payment service
    #[arg(long, default_value_t = ServiceKind::Payment.default_port(), value_parser = port)]
    payment_port: u16,
    /// Existing PostgreSQL database to use instead of the private one
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_parser = database_url)]
    database_url: Option<DatabaseUrl>,
    /// Directory of the private database [default: .valerix]
    #[arg(long, env = "VALERIX_DATA_DIR", value_parser = path())]
    data_dir: Option<PathBuf>,
    /// Delete the data of the private database first
    #[arg(long, conflicts_with = "database_url")]
    reset: bool,
    /// Milliseconds between the end of a service and its restart; they double while it keeps ending
    /// within 10 s of its start
    #[arg(long, value_name = "MS", default_value_t = 3000, value_parser = delay_ms)]
    restart_pause_ms: u32,
    /// Log each request too; those that pages and probes repeat need `RUST_LOG=debug`
    #[arg(long)]
    verbose: bool,
}

impl DemoArgs {
    /// Two services cannot share a port: the second would fail to start, over and over.
    pub fn check(&self) -> Result<(), ConfigError> {
        let ports = [
            ("--order-port", self.order_port),
            ("--inventory-port", self.inventory_port),
            ("--payment-port", self.payment_port),
        ];
        for (index, (flag, port)) in ports.iter().enumerate() {
            if let Some((other, _)) = ports[..index].iter().find(|(_, used)| used == port) {
                return Err(ConfigError(format!(
                    "{flag} is '{port}', the same as {other}; it takes a port of its own"
                )));
            }
        }
        Ok(())
    }

    fn config(self) -> demo::Config {
        demo::Config {
            host: self.host,
            ports: [self.order_port, self.inventory_port, self.payment_port],
            database_url: self.database_url,
            data_dir: self.data_dir,
            reset: self.reset,
            restart_pause: Duration::from_millis(self.restart_pause_ms.into()),
            verbose: self.verbose,
        }
    }

    pub async fn run(self) -> Outcome {
        demo::run(self.config(), &listen_for_shutdown()?).await?;
        Ok(ExitCode::SUCCESS)
    }
}
