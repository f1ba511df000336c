//! The configuration of the gremlin.

/// Whether a service has a gremlin, and who may use it.
#[derive(Debug, Clone)]
pub struct Config {
    /// Whether the service has the routes of the gremlin.
    pub enabled: bool,
    /// The bearer token that its routes require, if any.
    pub token: Option<String>,
}

impl Config {
    /// Whether every client that reaches the port can inject faults.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.enabled && self.token.is_none()
    }
}
