//! The ports of the services, and what follows from them.

use crate::platform::client::BaseUrl;

pub const ORDER: u16 = 5001;
pub const INVENTORY: u16 = 5002;
pub const PAYMENT: u16 = 5003;

/// The address of a service on this machine.
///
/// # Panics
/// Never: every port makes a valid address.
pub fn local_url(port: u16) -> BaseUrl {
    let url = format!("http://127.0.0.1:{port}").parse();
    url.expect("a valid address")
}

/// The origins of the dashboard, which the order service serves.
pub fn dashboard_origins() -> [String; 2] {
    ["localhost", "127.0.0.1"].map(|host| format!("http://{host}:{ORDER}"))
}
