//! The wire types: what a service answers and what its client reads are the same struct.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::platform::http::extract::{
    Fields, FromFields, amount, digits, flag, integer, name, text, timestamp, uuid,
};
use crate::platform::names::names;

names! {
    /// Where an order stands. `CONFIRMED` and `FAILED` are final.
    OrderStatus {
        Pending = "PENDING",
        Confirmed = "CONFIRMED",
        Failed = "FAILED",
        PendingInventory = "PENDING_INVENTORY",
        PendingPayment = "PENDING_PAYMENT",
    }
}

impl OrderStatus {
    /// No order leaves it by itself.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Confirmed | Self::Failed)
    }
}

names! {
    /// What is still to be done for an order that has ended.
    Obligation {
        /// Stock is to be given back.
        Release = "release",
        /// A charge is to be given back, or forbidden.
        Refund = "refund",
    }
}

names! {
    /// Why an order failed.
    FailureReason {
        InsufficientStock = "insufficient-stock",
        UnknownProduct = "unknown-product",
        PaymentDeclined = "payment-declined",
        /// Not finished within the recovery bound.
        Expired = "expired",
    }
}

names! {
    /// Where a payment stands.
    PaymentStatus {
        Pending = "PENDING",
        Success = "SUCCESS",
        Failed = "FAILED",
        /// A success that was given back.
        Refunded = "REFUNDED",
        /// Forbidden before it was ever charged.
        Voided = "VOIDED",
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

/// An order as its customer sees it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Order {
    pub id: Uuid,
    pub product_id: String,
    pub quantity: i32,
    #[schema(value_type = OrderStatus)]
    pub status: String,
    pub message: String,
    /// Stable, kebab-case. One that a newer release wrote is shown as it stands.
    #[schema(example = "payment-declined")]
    pub failure_reason: Option<String>,
    /// Nothing is left to be done for it.
    pub settled: bool,
    /// What is left to be done, whatever the status is.
    pub owes: Vec<Obligation>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// Trace of the request that placed the order.
    pub trace_id: Option<String>,
}

/// One step in an order's life.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct OrderEvent {
    pub at: DateTime<Utc>,
    #[schema(value_type = OrderStatus)]
    pub status: String,
    /// Stable, kebab-case.
    pub reason: String,
    /// 1 for the request that placed the order, one more for each later attempt to finish it.
    pub attempt: i32,
    pub trace_id: Option<String>,
}

/// An order as of one change of it: the data of an event of `GET /orders/stream`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct OrderChange {
    pub id: Uuid,
    pub product_id: String,
    pub quantity: i32,
    #[schema(example = "CONFIRMED")]
    pub status: String,
    pub failure_reason: Option<String>,
    pub created_at: DateTime<Utc>,
    /// When it changed.
    pub updated_at: DateTime<Utc>,
    /// Trace of the request or attempt that changed it.
    pub trace_id: Option<String>,
    /// Stable, kebab-case.
    pub reason: String,
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
    /// Given back as `cursor` it yields the next, older page; null on the last one.
    pub next_cursor: Option<String>,
}

/// `POST /inventory/reserve`
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Reserve {
    #[schema(
        min_length = 1,
        max_length = 255,
        pattern = r"^[^\u0000]+$",
        example = "PROD-001"
    )]
    pub product_id: String,
    #[schema(minimum = 1, maximum = 1000, example = 1)]
    pub quantity: i32,
    /// Made and returned when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_id: Option<Uuid>,
    /// Fencing token of the caller's attempt; 1 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub epoch: Option<i32>,
}

/// A reservation that holds, and what is left of its product.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Reserved {
    pub order_id: Uuid,
    pub product_id: String,
    pub quantity: i32,
    pub stock: i32,
    pub reserved: i32,
}

/// `POST /inventory/release`
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Release {
    pub order_id: Uuid,
    /// Fencing token of the caller's attempt; when absent, whatever is held is released.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub epoch: Option<i32>,
}

/// What a release did.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Released {
    pub order_id: Uuid,
    /// Units given back by this call; 0 when there was nothing (left) to give back.
    pub released: i32,
}

/// Stock of one product.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Stock {
    pub product_id: String,
    /// Units that can still be reserved.
    pub stock: i32,
    /// Units held for orders.
    pub reserved: i32,
    /// Units ever delivered; always stock + reserved.
    pub stocked: i32,
}

/// `POST /payments`
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Charge {
    pub order_id: Uuid,
    /// 0.01 to 99999999.99 with at most two decimals; 99.99 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>, minimum = 0.01, maximum = 99_999_999.99, multiple_of = 0.01, example = 99.99)]
    pub amount: Option<Decimal>,
    /// The attempt that asks. At the first there is no need to look for an earlier payment before
    /// the charge; one that is there all the same is what counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub epoch: Option<i32>,
}

/// `POST /payments/void`
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Void {
    pub order_id: Uuid,
}

/// A payment.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Payment {
    pub id: Uuid,
    pub order_id: Uuid,
    #[schema(value_type = f64, example = 99.99)]
    pub amount: Decimal,
    pub status: PaymentStatus,
    pub created_at: DateTime<Utc>,
}

/// `GET /payments`
#[derive(Debug, Clone, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PaymentsOfOrder {
    pub order_id: Uuid,
}

/// `GET /orders`
#[derive(Debug, Clone, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ListOrders {
    pub status: Option<OrderStatus>,
    #[param(min_length = 1, max_length = 255, pattern = r"^[^\u0000]+$")]
    pub product_id: Option<String>,
    /// `false` lists the orders for which something is left to be done.
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

/// `GET /orders/stream`
#[derive(Debug, Clone, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FollowOrders {
    /// Goes on after this event, where the `Last-Event-ID` header cannot be sent.
    #[param(
        max_length = 1319,
        pattern = "^[0-9]{1,19}-[0-9]{1,19}(-[0-9]{1,19}-[0-9]{1,19}){0,32}$"
    )]
    pub last_event_id: Option<String>,
}

// How each is read, field by field, with its limits.

impl FromFields for PlaceOrder {
    fn from_fields(fields: &mut Fields) -> Self {
        Self {
            product_id: fields.required("product_id", text(1..=255)),
            quantity: fields.required("quantity", quantity()),
        }
    }
}

impl FromFields for ListOrders {
    fn from_fields(fields: &mut Fields) -> Self {
        Self {
            status: fields.optional("status", name),
            product_id: fields.optional("product_id", text(1..=255)),
            settled: fields.optional("settled", flag),
            created_after: fields.optional("created_after", timestamp),
            created_before: fields.optional("created_before", timestamp),
            limit: fields.optional("limit", digits(1..=100)),
            cursor: fields.optional("cursor", text(1..=100)),
        }
    }
}

impl FromFields for FollowOrders {
    fn from_fields(fields: &mut Fields) -> Self {
        Self {
            last_event_id: fields.optional("last_event_id", event_id),
        }
    }
}

fn event_id(value: &serde_json::Value) -> Result<String, String> {
    let is_number =
        |part: &str| (1..=19).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    let is_id = |text: &&str| {
        let count = text.split('-').count();
        (2..=66).contains(&count) && count.is_multiple_of(2) && text.split('-').all(is_number)
    };
    let id = value.as_str().filter(is_id).map(str::to_owned);
    id.ok_or_else(|| "the id of an event of this stream".to_owned())
}

impl FromFields for Reserve {
    fn from_fields(fields: &mut Fields) -> Self {
        Self {
            product_id: fields.required("product_id", text(1..=255)),
            quantity: fields.required("quantity", quantity()),
            order_id: fields.optional("order_id", uuid),
            epoch: fields.optional("epoch", epoch()),
        }
    }
}

impl FromFields for Release {
    fn from_fields(fields: &mut Fields) -> Self {
        Self {
            order_id: fields.required("order_id", uuid),
            epoch: fields.optional("epoch", epoch()),
        }
    }
}

impl FromFields for Charge {
    fn from_fields(fields: &mut Fields) -> Self {
        Self {
            order_id: fields.required("order_id", uuid),
            amount: fields.optional("amount", amount),
            epoch: fields.optional("epoch", epoch()),
        }
    }
}

impl FromFields for Void {
    fn from_fields(fields: &mut Fields) -> Self {
        Self {
            order_id: fields.required("order_id", uuid),
        }
    }
}

impl FromFields for PaymentsOfOrder {
    fn from_fields(fields: &mut Fields) -> Self {
        Self {
            order_id: fields.required("order_id", uuid),
        }
    }
}

fn quantity() -> impl FnOnce(&serde_json::Value) -> Result<i32, String> {
    integer(1..=1000)
}

fn epoch() -> impl FnOnce(&serde_json::Value) -> Result<i32, String> {
    integer(1..=i32::MAX)
}
