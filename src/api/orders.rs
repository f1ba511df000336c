//! Bodies and queries of the order service.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use strum::{Display, EnumString, IntoStaticStr, VariantArray};
use utoipa::ToSchema;
use uuid::Uuid;

use super::fields::{product_id, quantity};
use crate::platform::http::extract::{
    Fields, FromFields, name, query_boolean, query_integer, text, timestamp,
};
use crate::platform::unknown_variant::UnknownVariant;

/// Status of an order. `CONFIRMED` and `FAILED` are final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[derive(Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE", const_into_str)]
#[strum(parse_err_ty = UnknownVariant, parse_err_fn = UnknownVariant::of::<Self>)]
pub enum OrderStatus {
    Pending,
    Confirmed,
    Failed,
    PendingInventory,
    PendingPayment,
}

impl OrderStatus {
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The text on the wire and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }

    /// Whether the order has ended: recovery never changes this status.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Confirmed | Self::Failed)
    }
}

/// Something that an order still owes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[derive(Display, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case", const_into_str)]
pub enum Obligation {
    /// Its stock must be given back.
    Release,
    /// Its charge must be given back, or a later charge prevented.
    Refund,
    /// Its goods must leave.
    Shipment,
}

impl Obligation {
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The text on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }
}

/// Why an order failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[derive(Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case", const_into_str)]
#[strum(parse_err_ty = UnknownVariant, parse_err_fn = UnknownVariant::of::<Self>)]
pub enum FailureReason {
    InsufficientStock,
    UnknownProduct,
    PaymentDeclined,
    /// Not finished within the recovery bound.
    Expired,
    /// Cancelled by an operator.
    Cancelled,
}

impl FailureReason {
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The text on the wire and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }
}

/// `POST /orders`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PlaceOrder {
    /// 1 to 255 characters.
    #[schema(
        min_length = 1,
        max_length = 255,
        pattern = r"^[^\u0000]+$",
        example = "PROD-001"
    )]
    pub product_id: String,
    #[schema(minimum = 1, maximum = 1000, example = 1)]
    pub quantity: i32,
}

impl FromFields for PlaceOrder {
    fn from_fields(fields: &mut Fields) -> Self {
        Self {
            product_id: fields.required("product_id", product_id()),
            quantity: fields.required("quantity", quantity()),
        }
    }
}

/// An order as its customer sees it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Order {
    pub id: Uuid,
    pub product_id: String,
    pub quantity: i32,
    /// A status that only a newer version knows is shown as it is stored.
    #[schema(value_type = OrderStatus)]
    pub status: String,
    pub message: String,
    /// Stable, kebab-case. A reason that only a newer version knows is shown as it is stored.
    #[schema(example = "payment-declined")]
    pub failure_reason: Option<String>,
    /// The order has ended and owes nothing.
    pub settled: bool,
    /// Obligations that are not met yet; a pending order can have some too.
    pub owes: Vec<Obligation>,
    /// Since when an order that has ended owes something.
    pub owed_since: Option<DateTime<Utc>>,
    /// When recovery tries again, at the earliest; null for a settled order.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// The last call that failed in the last attempt, and for which the order waits.
    pub last_failure: Option<OrderStep>,
    /// When the goods left.
    pub fulfilled_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// Trace of the request that placed the order.
    pub trace_id: Option<String>,
}

/// One event of an order, such as a change of its status.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct OrderEvent {
    pub at: DateTime<Utc>,
    #[schema(value_type = OrderStatus)]
    pub status: String,
    /// Stable, kebab-case.
    pub reason: String,
    /// The epoch of the attempt that made the change: 1 for the request that placed the order, one
    /// more for each takeover by recovery.
    pub attempt: i32,
    pub trace_id: Option<String>,
    /// The calls that the attempt made since its previous change, oldest first.
    pub steps: Vec<OrderStep>,
}

/// A call that an attempt made to inventory or payment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OrderStep {
    /// `reserve`, `charge`, `query-payment`, `release`, `refund` or `ship`. A newer version may
    /// store others.
    #[schema(example = "reserve")]
    pub step: String,
    /// `ok`, `rejected`, `timed-out`, `connection-lost`, `refused` (no connection), `not-called`
    /// (breaker open or bulkhead full) or `failed`. A newer version may store others.
    #[schema(example = "ok")]
    pub outcome: String,
    /// Absent if the outcome is `ok`. Else the code of the service's problem document, or the
    /// status of a response without one, or why the call was not made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "insufficient-stock")]
    pub detail: Option<String>,
    pub started_at: DateTime<Utc>,
    /// Milliseconds, retries included.
    pub duration_ms: f64,
}

/// An order as one change left it: the data of one event of `GET /orders/stream`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct OrderChange {
    pub id: Uuid,
    pub product_id: String,
    pub quantity: i32,
    #[schema(example = "CONFIRMED")]
    pub status: String,
    pub failure_reason: Option<String>,
    pub created_at: DateTime<Utc>,
    /// Time of the change.
    pub updated_at: DateTime<Utc>,
    /// Trace of the request or attempt that made the change.
    pub trace_id: Option<String>,
    /// Stable, kebab-case.
    pub reason: String,
    /// As in the order's events.
    pub attempt: i32,
}

/// `GET /orders/{id}`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct OrderDetail {
    #[serde(flatten)]
    pub order: Order,
    /// Oldest first.
    pub events: Vec<OrderEvent>,
}

/// `GET /orders`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct OrderPage {
    /// Newest first.
    pub orders: Vec<Order>,
    /// Sent as `cursor`, it returns the next, older page; null on the last page.
    pub next_cursor: Option<String>,
}

/// The most orders that `GET /orders` returns at once.
pub const MAX_PAGE_LENGTH: i32 = 100;

/// Query of `GET /orders`
#[derive(Debug, Clone, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ListOrders {
    pub status: Option<OrderStatus>,
    #[param(min_length = 1, max_length = 255, pattern = r"^[^\u0000]+$")]
    pub product_id: Option<String>,
    /// `true` lists orders that have ended and owe nothing; `false` lists all others.
    pub settled: Option<bool>,
    /// RFC 3339.
    pub created_after: Option<DateTime<Utc>>,
    /// RFC 3339.
    pub created_before: Option<DateTime<Utc>>,
    /// 20 when absent.
    #[param(minimum = 1, maximum = 100)]
    pub limit: Option<i32>,
    /// `next_cursor` of the page before.
    #[param(pattern = "^(0|[1-9][0-9]{0,15})-[0-9a-f]{32}$")]
    pub cursor: Option<String>,
}

impl FromFields for ListOrders {
    fn from_fields(fields: &mut Fields) -> Self {
        Self {
            status: fields.optional("status", name),
            product_id: fields.optional("product_id", product_id()),
            settled: fields.optional("settled", query_boolean),
            created_after: fields.optional("created_after", timestamp),
            created_before: fields.optional("created_before", timestamp),
            limit: fields.optional("limit", query_integer(1..=MAX_PAGE_LENGTH)),
            cursor: fields.optional("cursor", text(1..=100)),
        }
    }
}

/// Query of `GET /orders/stream`
#[derive(Debug, Clone, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FollowOrders {
    /// Continues after this event, for clients that cannot send the `Last-Event-ID` header.
    #[param(
        max_length = 1319,
        pattern = "^[0-9]{1,19}-[0-9]{1,19}(-[0-9]{1,19}-[0-9]{1,19}){0,32}$"
    )]
    pub last_event_id: Option<String>,
}

impl FromFields for FollowOrders {
    fn from_fields(fields: &mut Fields) -> Self {
        Self {
            last_event_id: fields.optional("last_event_id", event_id),
        }
    }
}

/// Reads an id of the stream's events: 1 to 33 pairs of numbers, joined by `-`.
fn event_id(value: &Value) -> Result<String, String> {
    let is_number =
        |part: &str| (1..=19).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    let is_id = |text: &&str| {
        let count = text.split('-').count();
        (2..=66).contains(&count) && count.is_multiple_of(2) && text.split('-').all(is_number)
    };
    let id = value.as_str().filter(is_id).map(str::to_owned);
    id.ok_or_else(|| "the id of an event of this stream".to_owned())
}
