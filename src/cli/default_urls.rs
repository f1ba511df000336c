//! The addresses of the services on this machine, at their default ports.

use crate::platform::client::BaseUrl;
use crate::testbed::service_kind::ServiceKind;

/// The address of a service.
///
/// # Panics
/// Never: every port makes a valid address.
pub fn local_url(kind: ServiceKind) -> BaseUrl {
    let url = format!("http://127.0.0.1:{}", kind.default_port());
    url.parse().expect("a port makes a valid address")
}

/// The origins of the dashboard, which the order service serves.
pub fn dashboard_origins() -> [String; 2] {
    let port = ServiceKind::Order.default_port();
    ["localhost", "127.0.0.1"].map(|host| format!("http://{host}:{port}"))
}
