//! The latency switch of the gremlin.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::json::{DEFAULT_DELAY_MS, MAX_DELAY_MS};
use crate::platform::http::extract::{Fields, FromFields, boolean, integer};

/// `POST /gremlin/latency` and its response
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Latency {
    pub enabled: bool,
    /// Milliseconds; 3000 when absent.
    #[serde(default)]
    #[schema(value_type = Option<u32>, minimum = 0, maximum = 60000, example = 3000)]
    pub delay_ms: u32,
}

impl FromFields for Latency {
    fn from_fields(fields: &mut Fields) -> Self {
        Self {
            enabled: fields.required("enabled", boolean),
            delay_ms: fields
                .optional("delay_ms", integer(0..=MAX_DELAY_MS))
                .unwrap_or(DEFAULT_DELAY_MS),
        }
    }
}

impl Latency {
    /// Returns the delay of each response, if the switch is on.
    #[must_use]
    pub fn delay(self) -> Option<Duration> {
        self.enabled
            .then(|| Duration::from_millis(self.delay_ms.into()))
    }
}
