//! The parts of a rule: which fault it injects, for which requests, and when it fires.

use actix_web::http::StatusCode;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, IntoStaticStr, VariantArray};
use utoipa::ToSchema;

use crate::platform::unknown_variant::UnknownVariant;

/// The kind of a [`Fault`], without its parameters.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
#[derive(Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case", const_into_str)]
#[strum(parse_err_ty = UnknownVariant, parse_err_fn = UnknownVariant::of::<Self>)]
pub enum GremlinKind {
    /// The request is delayed.
    Latency,
    /// The response is an error status. The handler does not run.
    Error,
    /// The connection closes without a response. The handler does not run.
    Drop,
    /// The handler runs and commits. Then the connection closes without a byte of the response.
    Vanish,
    /// The handler runs and commits. Then the process aborts.
    Crash,
    /// No response is sent, and the connection stays open. The handler does not run.
    Hang,
}

impl GremlinKind {
    pub const ALL: &'static [Self] = Self::VARIANTS;

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }
}

/// Whether a rule applies to the requests that the service receives, or to the calls that it makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[derive(Display, EnumString, VariantArray)]
#[strum(serialize_all = "kebab-case")]
#[strum(parse_err_ty = UnknownVariant, parse_err_fn = UnknownVariant::of::<Self>)]
pub enum Direction {
    Inbound,
    Outbound,
}

/// The fault of a rule. [`GremlinKind`] explains the variants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Latency {
        delay_ms: u32,
        /// The delay is up to this much longer or shorter, with a uniform distribution.
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
    pub const fn kind(self) -> GremlinKind {
        match self {
            Self::Latency { .. } => GremlinKind::Latency,
            Self::Error { .. } => GremlinKind::Error,
            Self::Drop => GremlinKind::Drop,
            Self::Vanish => GremlinKind::Vanish,
            Self::Crash => GremlinKind::Crash,
            Self::Hang => GremlinKind::Hang,
        }
    }
}

/// For which of the matching requests a rule fires.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Trigger {
    Always,
    /// For a share of the requests from 0 to 1, at random.
    Probability(f64),
    /// For the request number `offset` and each Nth after it, where N is `every`. An offset of 0,
    /// or none, stands for N.
    Every {
        every: u32,
        offset: Option<u32>,
    },
}

/// The requests to which a rule applies. A field that is `None` matches every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub direction: Direction,
    /// The called service, for calls.
    pub dependency: Option<String>,
    /// The pattern of the route, or a path.
    pub route: Option<String>,
    pub method: Option<String>,
    pub product_id: Option<String>,
}

impl Target {
    /// Whether a request matches, apart from its product.
    #[must_use]
    pub fn matches(&self, request: RequestView<'_>) -> bool {
        let fits = |wanted: &Option<String>, matches: &dyn Fn(&str) -> bool| {
            wanted.as_deref().is_none_or(matches)
        };
        self.direction == request.direction
            && fits(&self.dependency, &|name| request.dependency == Some(name))
            && fits(&self.method, &|method| method == request.method)
            && fits(&self.route, &|route| {
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

/// The properties of a request or a call that rules match.
#[derive(Debug, Clone, Copy)]
pub struct RequestView<'a> {
    pub direction: Direction,
    /// The called service; `None` for a request that the service receives.
    pub dependency: Option<&'a str>,
    pub method: &'a str,
    /// The pattern of the route.
    pub route: &'a str,
    pub path: &'a str,
}

/// A rule as a client requested it, with the defaults filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleSpec {
    pub fault: Fault,
    pub trigger: Trigger,
    pub target: Target,
    /// Determines the random choices; `None` if there are none.
    pub seed: Option<u32>,
    /// The rule ends after this many seconds.
    pub ttl_seconds: Option<u32>,
    /// The rule ends after it has fired this many times.
    pub max_fires: Option<u32>,
}
