//! The JSON of a rule: validates it and fills in the defaults.

use actix_web::http::StatusCode;
use rand::RngExt;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

use super::spec::{Direction, Fault, GremlinKind, RuleSpec, Target, Trigger};
use crate::platform::http::extract::{Fields, FromFields, fraction, integer, name, text};

/// Upper bound on every delay, including its jitter.
pub const MAX_DELAY_MS: u32 = 60_000;
pub const DEFAULT_DELAY_MS: u32 = 3_000;
const MAX_SEED: u32 = 2_147_483_647;
const MAX_TTL_SECONDS: u32 = 86_400;
const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];

/// Which fault a rule injects, into which requests, and when
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = RuleSpec)]
pub struct RuleJson {
    pub kind: GremlinKind,
    /// `latency`: for how many milliseconds the request waits; 3000 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 60000)]
    pub delay_ms: Option<u32>,
    /// `latency`: the delay is up to this many milliseconds longer or shorter, at random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 60000)]
    pub jitter_ms: Option<u32>,
    /// `error`: the status of the response; 500 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 400, maximum = 599)]
    pub status: Option<u16>,
    /// Whether the rule applies to received requests or to calls; `inbound` when absent.
    #[serde(default = "inbound")]
    pub direction: Direction,
    /// `outbound`: the rule applies only to calls to this service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(
        min_length = 1,
        max_length = 255,
        pattern = r"^[^\u0000]+$",
        example = "payment-service"
    )]
    pub dependency: Option<String>,
    /// The rule applies only to this route: its pattern, such as `/orders/{id}`, or a path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(
        min_length = 1,
        max_length = 255,
        pattern = r"^/[^\u0000]*$",
        example = "/inventory/reserve"
    )]
    pub route: Option<String>,
    /// The rule applies only to requests with this method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^(GET|POST|PUT|DELETE)$", example = "POST")]
    pub method: Option<String>,
    /// The rule applies only to requests with this product in their path, query or body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(
        min_length = 1,
        max_length = 255,
        pattern = r"^[^\u0000]+$",
        example = "PROD-001"
    )]
    pub product_id: Option<String>,
    /// The rule fires at random, for this share of the matching requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1)]
    pub probability: Option<f64>,
    /// Determines the random choices. When absent, the service draws a seed and shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 2_147_483_647)]
    pub seed: Option<u32>,
    /// The rule fires for each Nth matching request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub every: Option<u32>,
    /// With `every`: the number of the first request for which the rule fires; 0 or absent stands
    /// for the Nth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 999_999)]
    pub offset: Option<u32>,
    /// The rule ends after this many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 86400)]
    pub ttl_seconds: Option<u32>,
    /// The rule ends after it has fired this many times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1_000_000_000)]
    pub max_fires: Option<u32>,
}

fn inbound() -> Direction {
    Direction::Inbound
}

impl FromFields for RuleSpec {
    fn from_fields(fields: &mut Fields) -> Self {
        let kind = fields.optional("kind", name);
        if kind.is_none() && !fields.has_error("kind") {
            let known: Vec<_> = GremlinKind::ALL.iter().map(|kind| kind.as_str()).collect();
            fields.reject("kind", format!("is required: one of {}", known.join(", ")));
        }
        let has_kind = kind.is_some();
        let json = RuleJson::read(kind.unwrap_or(GremlinKind::Latency), fields);
        fields.reject_unread();
        // Without a kind, no field contradicts it.
        if has_kind {
            json.reject_fields_of_other_kinds(fields);
        }
        json.reject_contradictions(fields);
        json.into_spec()
    }
}

impl RuleJson {
    fn read(kind: GremlinKind, fields: &mut Fields) -> Self {
        let length = 1..=255;
        Self {
            kind,
            delay_ms: fields.optional("delay_ms", integer(0..=MAX_DELAY_MS)),
            jitter_ms: fields.optional("jitter_ms", integer(0..=MAX_DELAY_MS)),
            status: fields.optional("status", integer(400..=599)),
            direction: fields
                .optional("direction", name)
                .unwrap_or(Direction::Inbound),
            dependency: fields.optional("dependency", text(length.clone())),
            route: fields.optional("route", text(length.clone())),
            method: fields.optional("method", text(length.clone())),
            product_id: fields.optional("product_id", text(length)),
            probability: fields.optional("probability", fraction),
            seed: fields.optional("seed", integer(0..=MAX_SEED)),
            every: fields.optional("every", integer(1..=1_000_000)),
            offset: fields.optional("offset", integer(0..=999_999)),
            ttl_seconds: fields.optional("ttl_seconds", integer(1..=MAX_TTL_SECONDS)),
            max_fires: fields.optional("max_fires", integer(1..=1_000_000_000)),
        }
    }

    /// Rejects fields that do not belong to the kind of the rule, and a jitter that is too large.
    fn reject_fields_of_other_kinds(&self, fields: &mut Fields) {
        for (field, is_present, kind) in [
            ("delay_ms", self.delay_ms.is_some(), GremlinKind::Latency),
            ("jitter_ms", self.jitter_ms.is_some(), GremlinKind::Latency),
            ("status", self.status.is_some(), GremlinKind::Error),
        ] {
            if is_present && self.kind != kind {
                let detail = format!("belongs to kind {kind}, not to {}", self.kind);
                fields.reject(field, detail);
            }
        }
        let max_delay_ms =
            self.delay_ms.unwrap_or(DEFAULT_DELAY_MS) + self.jitter_ms.unwrap_or_default();
        if max_delay_ms > MAX_DELAY_MS {
            let detail = format!("makes a delay of more than {MAX_DELAY_MS} ms possible");
            fields.reject("jitter_ms", detail);
        }
    }

    /// Rejects combinations of fields that contradict each other.
    fn reject_contradictions(&self, fields: &mut Fields) {
        if self.every.is_some() && self.probability.is_some() {
            fields.reject(
                "probability",
                "contradicts every: a rule fires at random or in a pattern",
            );
        }
        match (self.offset, self.every) {
            (Some(_), None) => fields.reject("offset", "belongs to every"),
            (Some(offset), Some(every)) if offset >= every => {
                fields.reject(
                    "offset",
                    format!("must be less than every, which is {every}"),
                );
            }
            _ => {}
        }
        if self.seed.is_some() && self.probability.is_none() && self.jitter_ms.is_none() {
            fields.reject("seed", "belongs to probability or jitter_ms");
        }
        if self.dependency.is_some() && self.direction == Direction::Inbound {
            fields.reject("dependency", "belongs to direction outbound");
        }
        if self
            .route
            .as_ref()
            .is_some_and(|route| !route.starts_with('/'))
        {
            fields.reject("route", "must begin with /");
        }
        if let Some(method) = &self.method
            && !METHODS.contains(&method.as_str())
        {
            fields.reject("method", format!("must be one of {}", METHODS.join(", ")));
        }
    }

    /// Fills in the defaults, so that the rule is shown as it is applied.
    fn into_spec(self) -> RuleSpec {
        let status = self
            .status
            .and_then(|status| StatusCode::from_u16(status).ok());
        let fault = match self.kind {
            GremlinKind::Latency => Fault::Latency {
                delay_ms: self.delay_ms.unwrap_or(DEFAULT_DELAY_MS),
                jitter_ms: self.jitter_ms,
            },
            GremlinKind::Error => Fault::Error {
                status: status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            },
            GremlinKind::Drop => Fault::Drop,
            GremlinKind::Vanish => Fault::Vanish,
            GremlinKind::Crash => Fault::Crash,
            GremlinKind::Hang => Fault::Hang,
        };
        let trigger = match (self.probability, self.every) {
            (Some(probability), _) => Trigger::Probability(probability),
            (None, Some(every)) => Trigger::Every {
                every,
                offset: self.offset,
            },
            (None, None) => Trigger::Always,
        };
        let is_random = self.probability.is_some() || self.jitter_ms.is_some();
        let draw = || rand::rng().random_range(0..=MAX_SEED);
        RuleSpec {
            fault,
            trigger,
            target: Target {
                direction: self.direction,
                dependency: self.dependency,
                route: self.route,
                method: self.method,
                product_id: self.product_id,
            },
            seed: is_random.then(|| self.seed.unwrap_or_else(draw)),
            ttl_seconds: self.ttl_seconds,
            max_fires: self.max_fires,
        }
    }
}

impl From<RuleSpec> for RuleJson {
    fn from(spec: RuleSpec) -> Self {
        let (delay_ms, jitter_ms, status) = match spec.fault {
            Fault::Latency {
                delay_ms,
                jitter_ms,
            } => (Some(delay_ms), jitter_ms, None),
            Fault::Error { status } => (None, None, Some(status.as_u16())),
            Fault::Drop | Fault::Vanish | Fault::Crash | Fault::Hang => (None, None, None),
        };
        let (probability, every, offset) = match spec.trigger {
            Trigger::Always => (None, None, None),
            Trigger::Probability(probability) => (Some(probability), None, None),
            Trigger::Every { every, offset } => (None, Some(every), offset),
        };
        let Target {
            direction,
            dependency,
            route,
            method,
            product_id,
        } = spec.target;
        Self {
            kind: spec.fault.kind(),
            delay_ms,
            jitter_ms,
            status,
            direction,
            dependency,
            route,
            method,
            product_id,
            probability,
            seed: spec.seed,
            every,
            offset,
            ttl_seconds: spec.ttl_seconds,
            max_fires: spec.max_fires,
        }
    }
}

impl Serialize for RuleSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RuleJson::from(self.clone()).serialize(serializer)
    }
}

/// Parses a rule that a service shows, without validating it.
impl<'de> Deserialize<'de> for RuleSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        RuleJson::deserialize(deserializer).map(RuleJson::into_spec)
    }
}
