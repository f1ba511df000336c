//! Where the three services of one run listen.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::free_ports::free_ports;
use super::service_kind::ServiceKind;
use crate::platform::client::BaseUrl;

/// One IP address with a port for each service.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    host: IpAddr,
    ports: [u16; 3],
}

impl Addresses {
    /// `ports` are in the order of [`ServiceKind::ALL`].
    #[must_use]
    pub const fn new(host: IpAddr, ports: [u16; 3]) -> Self {
        Self { host, ports }
    }

    /// Chooses free ports of 127.0.0.1.
    ///
    /// # Errors
    /// When there are no three free ports.
    pub fn on_free_ports() -> io::Result<Self> {
        Ok(Self::new(Ipv4Addr::LOCALHOST.into(), free_ports()?))
    }

    #[must_use]
    pub const fn host(&self) -> IpAddr {
        self.host
    }

    #[must_use]
    pub fn port(&self, kind: ServiceKind) -> u16 {
        self.ports[kind.index()]
    }

    #[must_use]
    pub fn socket_address(&self, kind: ServiceKind) -> SocketAddr {
        SocketAddr::new(self.host, self.port(kind))
    }

    /// # Panics
    /// Never: `http://` and a socket address make a valid URL.
    #[must_use]
    pub fn url(&self, kind: ServiceKind) -> BaseUrl {
        let url = format!("http://{}", self.socket_address(kind));
        url.parse().expect("a socket address makes a valid URL")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_has_a_url_with_its_port() {
        let ipv4 = Addresses::new(Ipv4Addr::LOCALHOST.into(), [5001, 5002, 5003]);
        assert_eq!(
            ipv4.url(ServiceKind::Payment).to_string(),
            "http://127.0.0.1:5003"
        );
        let ipv6 = Addresses::new("::1".parse().unwrap(), [1, 2, 3]);
        assert_eq!(
            ipv6.url(ServiceKind::Inventory).to_string(),
            "http://[::1]:2"
        );
    }
}
