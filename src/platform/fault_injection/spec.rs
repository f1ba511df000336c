//! The parts of a rule: which fault it injects, when it fires, and which requests it is about.

use actix_web::http::StatusCode;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, IntoStaticStr, VariantArray};
use utoipa::ToSchema;

use crate::platform::unknown_variant::UnknownVariant;

/// What happens to a request that a rule hits. Each kind belongs to a variant of [`Fault`].
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
#[derive(Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case", const_into_str)]
#[strum(parse_err_ty = UnknownVariant, parse_err_fn = UnknownVariant::of::<Self>)]
pub enum Kind {
    /// The request waits first.
    Latency,
    /// The response is an error status. The handler does not run.
    Error,
    /// The connection closes without a response. The handler does not run.
    Drop,
    /// The handler runs and commits. Then the connection closes without a byte of the response.
    Vanish,
    /// The handler runs and commits. Then the process aborts.
    Crash,
    /// No response is sent. The handler does not run.
    Hang,
}

impl Kind {
    pub const ALL: &'static [Self] = Self::VARIANTS;

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }
}

/// Whether a rule is about the requests that the service receives, or the calls that it makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[derive(Display, EnumString, VariantArray)]
#[strum(serialize_all = "kebab-case")]
#[strum(parse_err_ty = UnknownVariant, parse_err_fn = UnknownVariant::of::<Self>)]
pub enum Direction {
    Inbound,
    Outbound,
}

/// What a rule does to a request when it fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Latency {
        delay_ms: u32,
        /// The delay is up to this much longer or shorter, evenly distributed.
        jitter_ms: Option<u32>,
    },
    Error {
        status: StatusCode,
    },
    Drop,
    Vanish,
    Crash,
    Hang,
}

impl Fault {
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self {
            Self::Latency { .. } => Kind::Latency,
            Self::Error { .. } => Kind::Error,
            Self::Drop => Kind::Drop,
            Self::Vanish => Kind::Vanish,
            Self::Crash => Kind::Crash,
            Self::Hang => Kind::Hang,
        }
    }
}

/// Which of the matching requests a rule fires for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Trigger {
    Always,
    /// A share of the requests, from 0 to 1, chosen at random from the rule's seed.
    Probability(f64),
    /// With offset k, the kth request and each Nth after it. Without an offset, or with 0, each Nth.
    Every {
        every: u32,
        offset: Option<u32>,
    },
}

/// The requests that a rule is about. An absent field matches every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub direction: Direction,
    /// For calls: the service that is called.
    pub dependency: Option<String>,
    /// The pattern of the route, or a path.
    pub route: Option<String>,
    pub method: Option<String>,
    pub product_id: Option<String>,
}

impl Target {
    /// Whether a request matches, its product aside.
    #[must_use]
    pub fn matches(&self, request: RequestView<'_>) -> bool {
        let is_wanted =
            |wanted: &Option<String>, is: &dyn Fn(&str) -> bool| wanted.as_deref().is_none_or(is);
        self.direction == request.direction
            && is_wanted(&self.dependency, &|name| request.dependency == Some(name))
            && is_wanted(&self.method, &|method| method == request.method)
            && is_wanted(&self.route, &|route| {
                route == request.route || route == request.path
            })
    }

    #[must_use]
    pub fn matches_product(&self, product_id: Option<&str>) -> bool {
        self.product_id
            .as_deref()
            .is_none_or(|wanted| product_id == Some(wanted))
    }
}

/// A request or call, as far as rules look at it.
#[derive(Debug, Clone, Copy)]
pub struct RequestView<'a> {
    pub direction: Direction,
    /// The service that is called; `None` for a request that the service receives.
    pub dependency: Option<&'a str>,
    pub method: &'a str,
    /// The pattern of the route.
    pub route: &'a str,
    pub path: &'a str,
}

/// A rule as it was requested, with the defaults filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleSpec {
    pub fault: Fault,
    pub trigger: Trigger,
    pub target: Target,
    /// For random choices; the same seed makes the same choices.
    pub seed: Option<u32>,
    /// Seconds after which the rule ends.
    pub ttl_seconds: Option<u32>,
    /// Fires after which the rule ends.
    pub max_fires: Option<u32>,
}
