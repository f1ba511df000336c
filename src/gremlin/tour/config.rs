//! Which platform the tour runs on.

use crate::platform::client::BaseUrl;

#[derive(Debug, Clone)]
pub struct Config {
    /// In the order of `ServiceKind::ALL`. If nothing answers at the first, and it is on this
    /// machine, the tour starts a platform of its own.
    pub urls: [BaseUrl; 3],
    /// The services' `GREMLIN_TOKEN`.
    pub token: Option<String>,
    /// Print only the report, as JSON.
    pub json: bool,
    /// Wait for Enter between the steps.
    pub pause: bool,
}
