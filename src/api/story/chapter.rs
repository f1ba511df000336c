//! The parts of the story: chapters with texts, actions and expectations.

use std::fmt;

use serde::Serialize;
use utoipa::ToSchema;

use crate::platform::fault_injection::spec::{Direction, GremlinKind};

/// `GET /story.json`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Story {
    /// Shown before the first chapter, so that a declined payment is not taken for a fault.
    #[schema(value_type = String)]
    pub introduction: &'static str,
    /// The product that is ordered has at least this many units in stock, more than are ordered.
    pub min_stock: i64,
    /// In order.
    #[schema(value_type = Vec<Chapter>)]
    pub chapters: &'static [Chapter],
}

/// A chapter: its texts, and its actions in order
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Chapter {
    #[serde(flatten)]
    pub captions: Captions,
    #[schema(value_type = Vec<Action>)]
    pub actions: &'static [Action],
}

/// The texts of a chapter. Each but the id and the title is one sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Captions {
    /// Stable, kebab-case.
    #[schema(value_type = String)]
    pub id: &'static str,
    #[schema(value_type = String)]
    pub title: &'static str,
    /// The fault that the gremlin injects.
    #[schema(value_type = String)]
    pub injected: &'static str,
    #[schema(value_type = String)]
    pub customer_sees: &'static str,
    #[schema(value_type = String)]
    pub platform_does: &'static str,
    /// The claim that holds if all checks of the chapter pass.
    #[schema(value_type = String)]
    pub proved: &'static str,
}

/// Something that is done, or expected, or both. An expectation is a check with a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum Action {
    /// Each service is healthy: one check for each.
    ExpectHealthy,
    /// Waits until each service is healthy.
    WaitUntilHealthy,
    /// Turns the latency switch of a service on.
    SetLatency {
        service: StoryService,
        delay_ms: u32,
    },
    /// Adds a gremlin rule to a service.
    AddRule {
        service: StoryService,
        rule: StoryRule,
    },
    /// The last added rule has fired this often.
    ExpectFired { times: u64 },
    /// Ends each fault that the story has set.
    EndFaults,
    /// Places orders of one unit side by side, as many at a time as the client can send.
    PlaceOrders {
        /// The name of the check.
        #[schema(value_type = String)]
        check: &'static str,
        orders: usize,
        /// Each order gets this status.
        status: u16,
        /// No response comes earlier.
        #[serde(skip_serializing_if = "Option::is_none")]
        at_least_ms: Option<u32>,
        /// No response comes later.
        #[serde(skip_serializing_if = "Option::is_none")]
        at_most_ms: Option<u32>,
        /// Each response has this message: one more check.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        message: Option<&'static str>,
    },
    /// Places orders one after the other until one is confirmed at once. An order whose payment is
    /// declined, or that is pending because a circuit breaker is not closed yet, is followed by
    /// another one.
    PlaceUntilConfirmed {
        #[schema(value_type = String)]
        check: &'static str,
        max_orders: usize,
    },
    /// Places orders one after the other until one has this status in this time. While a circuit
    /// breaker is open, it lets a call through now and then, to probe, and that order waits.
    PlaceUntilFast {
        #[schema(value_type = String)]
        check: &'static str,
        status: u16,
        at_most_ms: u32,
        max_orders: usize,
    },
    /// Each order that was answered with a 202 since the last such check ends by itself. It is
    /// confirmed, or its payment is declined.
    ExpectEnded {
        #[schema(value_type = String)]
        check: &'static str,
    },
    /// The light of the answer time has this colour, after up to this many more orders. It is
    /// judged only while every order in its window is the story's own.
    ExpectLight {
        status: LightStatus,
        max_orders: usize,
    },
    /// Every order that the story placed has ended, and none is lost.
    ExpectAllFinished,
    /// No invariant has a violation that it did not have when the story began: one check for each.
    ExpectInvariants,
}

/// A service, by its name
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StoryService {
    OrderService,
    InventoryService,
    PaymentService,
}

/// The colours of the light
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LightStatus {
    Green,
    Red,
}

impl fmt::Display for LightStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Green => "green",
            Self::Red => "red",
        })
    }
}

/// The body of `POST /gremlin/rules`, as far as the story needs it
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct StoryRule {
    pub kind: GremlinKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    pub direction: Direction,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dependency: Option<StoryService>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub route: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_fires: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<u32>,
}
