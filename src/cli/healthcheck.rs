//! `valerix healthcheck`

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;

use clap::Args;

use super::outcome::{Outcome, exit_on_signal};
use super::parsers::{base_url, ip_address, port};
use crate::healthcheck;
use crate::platform::client::BaseUrl;
use crate::testbed::service_kind::ServiceKind;

#[derive(Debug, Args)]
pub struct HealthcheckArgs {
    /// Address of the service [default: the one made of --host and --port]
    #[arg(long, value_parser = base_url)]
    url: Option<BaseUrl>,
    /// IP address that the service listens on
    #[arg(long, env = "HOST", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST),
          value_parser = ip_address)]
    host: IpAddr,
    /// Port that the service listens on
    #[arg(long, env = "PORT", default_value_t = ServiceKind::Order.default_port(),
          value_parser = port)]
    port: u16,
}

impl HealthcheckArgs {
    /// # Errors
    /// Never in practice: a socket address always makes a valid URL.
    fn target(self) -> Result<BaseUrl, String> {
        // A service that listens on all addresses answers on the loopback address.
        let host = match self.host {
            IpAddr::V4(host) if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(host) if host.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            host => host,
        };
        self.url.map_or_else(
            || format!("http://{}", SocketAddr::new(host, self.port)).parse(),
            Ok,
        )
    }

    pub async fn run(self) -> Outcome {
        exit_on_signal()?;
        healthcheck::run(self.target()?).await?;
        Ok(ExitCode::SUCCESS)
    }
}
