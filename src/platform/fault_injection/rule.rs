//! One rule of the gremlin: what it hits, when it fires, when it ends. Pure: the clock is given,
//! chance comes from a seed.

use std::time::{Duration, Instant};

use actix_web::http::StatusCode;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, IntoStaticStr, VariantArray};
use utoipa::ToSchema;

use crate::platform::http::extract::{Fields, FromFields, integer, name, share, text};
use crate::platform::unknown_variant::UnknownVariant;

/// No delay, with or without jitter, is longer.
pub const MOST_DELAY_MS: i32 = 60_000;
pub const USUAL_DELAY_MS: i32 = 3_000;
const USUAL_STATUS: i32 = 500;
const MOST_SECONDS: i32 = 86_400;
const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];

/// What happens to a request that a rule hits.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
#[derive(Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case", const_into_str)]
#[strum(parse_err_ty = UnknownVariant, parse_err_fn = UnknownVariant::of::<Self>)]
pub enum Kind {
    /// It waits first.
    Latency,
    /// It gets an error status; the handler does not run.
    Error,
    /// The connection closes without an answer; the handler does not run.
    Drop,
    /// The handler runs and commits; then the connection closes without a byte.
    Vanish,
    /// The handler runs and commits; then the process aborts.
    Crash,
    /// No answer comes; the handler does not run.
    Hang,
}

impl Kind {
    pub const ALL: &'static [Self] = Self::VARIANTS;

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }
}

/// Which requests: those that come to the service, or those that it makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[derive(Display, EnumString, VariantArray)]
#[strum(serialize_all = "kebab-case")]
#[strum(parse_err_ty = UnknownVariant, parse_err_fn = UnknownVariant::of::<Self>)]
pub enum Direction {
    Inbound,
    Outbound,
}

/// What a rule hits and when, as it is asked for and shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RuleSpec {
    pub kind: Kind,
    /// `latency`: how long the request waits; 3000 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 60000)]
    pub delay_ms: Option<i32>,
    /// `latency`: up to so much more or less, evenly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 60000)]
    pub jitter_ms: Option<i32>,
    /// `error`: 500 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 400, maximum = 599)]
    pub status: Option<i32>,
    /// `inbound` when absent.
    #[serde(default = "inbound")]
    pub direction: Direction,
    /// `outbound`: calls to this service alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(
        min_length = 1,
        max_length = 255,
        pattern = r"^[^\u0000]+$",
        example = "payment-service"
    )]
    pub dependency: Option<String>,
    /// The route's pattern, such as `/orders/{id}`, or a path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(
        min_length = 1,
        max_length = 255,
        pattern = r"^/[^\u0000]*$",
        example = "/inventory/reserve"
    )]
    pub route: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^(GET|POST|PUT|DELETE)$", example = "POST")]
    pub method: Option<String>,
    /// Requests that name this product in path, query or body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(
        min_length = 1,
        max_length = 255,
        pattern = r"^[^\u0000]+$",
        example = "PROD-001"
    )]
    pub product_id: Option<String>,
    /// Share of the matching requests that it hits, at random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1)]
    pub probability: Option<f64>,
    /// The same seed makes the same choices; drawn and shown when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 2_147_483_647)]
    pub seed: Option<i32>,
    /// Hits each Nth matching request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub every: Option<i32>,
    /// With `every`: the first that it hits, then each Nth after it; 0 stands for the Nth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 999_999)]
    pub offset: Option<i32>,
    /// Ends after so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 86400)]
    pub ttl_seconds: Option<i32>,
    /// Ends after so many hits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1_000_000_000)]
    pub max_fires: Option<i32>,
}

fn inbound() -> Direction {
    Direction::Inbound
}

impl FromFields for RuleSpec {
    fn from_fields(fields: &mut Fields) -> Self {
        let name_length = 1..=255;
        // A wrong kind is told once; what would contradict it cannot be known.
        let kind = fields.optional("kind", name);
        if kind.is_none() && !fields.has_error("kind") {
            let known = Kind::ALL
                .iter()
                .map(|kind| kind.as_str())
                .collect::<Vec<_>>()
                .join(", ");
            fields.reject("kind", format!("is required: one of {known}"));
        }
        let spec = Self {
            kind: kind.unwrap_or(Kind::Latency),
            delay_ms: fields.optional("delay_ms", integer(0..=MOST_DELAY_MS)),
            jitter_ms: fields.optional("jitter_ms", integer(0..=MOST_DELAY_MS)),
            status: fields.optional("status", integer(400..=599)),
            direction: fields
                .optional("direction", name)
                .unwrap_or(Direction::Inbound),
            dependency: fields.optional("dependency", text(name_length.clone())),
            route: fields.optional("route", text(name_length.clone())),
            method: fields.optional("method", text(name_length.clone())),
            product_id: fields.optional("product_id", text(name_length)),
            probability: fields.optional("probability", share),
            seed: fields.optional("seed", integer(0..=i32::MAX)),
            every: fields.optional("every", integer(1..=1_000_000)),
            offset: fields.optional("offset", integer(0..=999_999)),
            ttl_seconds: fields.optional("ttl_seconds", integer(1..=MOST_SECONDS)),
            max_fires: fields.optional("max_fires", integer(1..=1_000_000_000)),
        };
        fields.reject_the_rest();
        if kind.is_some() {
            spec.refuse_other_kinds_fields(fields);
        }
        spec.refuse_contradictions(fields);
        spec.with_defaults()
    }
}

impl RuleSpec {
    fn refuse_other_kinds_fields(&self, fields: &mut Fields) {
        for (field, given, kind) in [
            ("delay_ms", self.delay_ms.is_some(), Kind::Latency),
            ("jitter_ms", self.jitter_ms.is_some(), Kind::Latency),
            ("status", self.status.is_some(), Kind::Error),
        ] {
            if given && self.kind != kind {
                fields.reject(
                    field,
                    format!("belongs to kind {kind}, not to {}", self.kind),
                );
            }
        }
        let longest = self.delay_ms.unwrap_or(USUAL_DELAY_MS) + self.jitter_ms.unwrap_or_default();
        if longest > MOST_DELAY_MS {
            fields.reject(
                "jitter_ms",
                format!("makes a delay of more than {MOST_DELAY_MS} ms possible"),
            );
        }
    }

    fn refuse_contradictions(&self, fields: &mut Fields) {
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
        if let Some(route) = &self.route {
            if !route.starts_with('/') {
                fields.reject("route", "must begin with /");
            }
        }
        if let Some(method) = &self.method
            && !METHODS.contains(&method.as_str())
        {
            fields.reject("method", format!("must be one of {}", METHODS.join(", ")));
        }
    }

    /// What is left to the gremlin is decided here once, so that a rule is shown as it works.
    fn with_defaults(mut self) -> Self {
        match self.kind {
            Kind::Latency => self.delay_ms = self.delay_ms.or(Some(USUAL_DELAY_MS)),
            Kind::Error => self.status = self.status.or(Some(USUAL_STATUS)),
            _ => {}
        }
        if self.probability.is_some() || self.jitter_ms.is_some() {
            self.seed = self
                .seed
                .or_else(|| Some(rand::rng().random_range(0..=i32::MAX)));
        }
        self
    }
}

/// A request, as far as rules look at it.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub direction: Direction,
    /// The service that is called; nothing for a request that comes in.
    pub dependency: Option<&'a str>,
    pub method: &'a str,
    /// The route's pattern.
    pub route: &'a str,
    pub path: &'a str,
}

/// What a rule that fires does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Delay(Duration),
    End(Ending),
}

/// How a request ends that does not end as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Error(StatusCode),
    Drop,
    Vanish,
    Crash,
    Hang,
}

/// A rule at work.
pub struct Rule {
    pub id: u32,
    pub spec: RuleSpec,
    added: Instant,
    matched: u64,
    fired: u64,
    /// When its last permitted fire was.
    spent: Option<Instant>,
    chance: StdRng,
}

impl Rule {
    #[must_use]
    pub fn new(id: u32, spec: RuleSpec, now: Instant) -> Self {
        let seed = u64::try_from(spec.seed.unwrap_or_default()).unwrap_or_default();
        let chance = StdRng::seed_from_u64(seed);
        Self {
            id,
            spec,
            added: now,
            matched: 0,
            fired: 0,
            spent: None,
            chance,
        }
    }

    /// When it ended by itself.
    #[must_use]
    pub fn ended(&self, now: Instant) -> Option<Instant> {
        let expired = self.expiry().filter(|expiry| *expiry <= now);
        [self.spent, expired].into_iter().flatten().min()
    }

    fn expiry(&self) -> Option<Instant> {
        self.spec
            .ttl_seconds
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map(|seconds| self.added + Duration::from_secs(seconds))
    }

    /// Whether it hits such requests, their product aside.
    #[must_use]
    pub fn covers(&self, subject: Subject<'_>) -> bool {
        let spec = &self.spec;
        spec.direction == subject.direction
            && spec
                .dependency
                .as_deref()
                .is_none_or(|wanted| subject.dependency == Some(wanted))
            && spec
                .method
                .as_deref()
                .is_none_or(|wanted| wanted == subject.method)
            && spec
                .route
                .as_deref()
                .is_none_or(|wanted| wanted == subject.route || wanted == subject.path)
    }

    #[must_use]
    pub fn concerns(&self, product_id: Option<&str>) -> bool {
        self.spec
            .product_id
            .as_deref()
            .is_none_or(|wanted| product_id == Some(wanted))
    }

    /// Counts a matching request, and says what is done to it.
    pub fn meet(&mut self, now: Instant) -> Option<Effect> {
        self.matched += 1;
        if !self.decides() {
            return None;
        }
        self.fired += 1;
        if self
            .spec
            .max_fires
            .and_then(|most| u64::try_from(most).ok())
            == Some(self.fired)
        {
            self.spent = Some(now);
        }
        Some(self.effect())
    }

    fn decides(&mut self) -> bool {
        if let Some(probability) = self.spec.probability {
            return self.chance.random_bool(probability);
        }
        let every = self
            .spec
            .every
            .and_then(|every| u64::try_from(every).ok())
            .unwrap_or(1);
        let offset = self
            .spec
            .offset
            .and_then(|offset| u64::try_from(offset).ok())
            .unwrap_or_default();
        self.matched % every == offset
    }

    fn effect(&mut self) -> Effect {
        Effect::End(match self.spec.kind {
            Kind::Latency => {
                let jitter = self.spec.jitter_ms.unwrap_or_default();
                let delay = self.spec.delay_ms.unwrap_or(USUAL_DELAY_MS)
                    + self.chance.random_range(-jitter..=jitter);
                return Effect::Delay(Duration::from_millis(
                    u64::try_from(delay).unwrap_or_default(),
                ));
            }
            Kind::Error => {
                let status = self
                    .spec
                    .status
                    .and_then(|status| u16::try_from(status).ok());
                let status = status.and_then(|status| StatusCode::from_u16(status).ok());
                Ending::Error(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
            }
            Kind::Drop => Ending::Drop,
            Kind::Vanish => Ending::Vanish,
            Kind::Crash => Ending::Crash,
            Kind::Hang => Ending::Hang,
        })
    }

    #[must_use]
    pub fn view(&self, now: Instant) -> RuleView {
        let active = self.ended(now).is_none();
        let remaining_seconds = self.expiry().map(|expiry| {
            let left = if active {
                expiry.saturating_duration_since(now)
            } else {
                Duration::ZERO
            };
            (left.as_secs_f64() * 10.0).round() / 10.0
        });
        let remaining_fires = self
            .spec
            .max_fires
            .and_then(|most| u64::try_from(most).ok())
            .map(|most| most.saturating_sub(self.fired));
        let (matched, fired) = (self.matched, self.fired);
        RuleView {
            id: self.id,
            spec: self.spec.clone(),
            active,
            matched,
            fired,
            remaining_seconds,
            remaining_fires,
        }
    }
}

/// A rule and how it fares.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Rule)]
pub struct RuleView {
    pub id: u32,
    #[serde(flatten)]
    pub spec: RuleSpec,
    /// false: it has ended by itself, and is shown for a minute more.
    pub active: bool,
    /// Requests that it could have hit.
    pub matched: u64,
    /// Requests that it hit.
    pub fired: u64,
    /// Until `ttl_seconds` are over; null without them.
    pub remaining_seconds: Option<f64>,
    /// Until `max_fires` are reached; null without them.
    pub remaining_fires: Option<u64>,
}
