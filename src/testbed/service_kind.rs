//! The three services by kind: their names and default ports.

use std::fmt;

use serde::Serialize;

/// One of the three services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceKind {
    Order,
    Inventory,
    Payment,
}

impl ServiceKind {
    pub const ALL: [Self; 3] = [Self::Order, Self::Inventory, Self::Payment];

    /// The subcommand of `valerix` that runs the service.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Inventory => "inventory",
            Self::Payment => "payment",
        }
    }

    /// The port that the service listens on when neither `PORT` nor `--port` is set.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Order => 5001,
            Self::Inventory => 5002,
            Self::Payment => 5003,
        }
    }

    /// The position in [`ServiceKind::ALL`]: the index into an array with an element per service.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for ServiceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
