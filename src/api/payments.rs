//! Bodies of the payment service.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, IntoStaticStr, VariantArray};
use utoipa::ToSchema;
use uuid::Uuid;

use super::fields::epoch;
use crate::platform::http::extract::{Fields, FromFields, amount, uuid};
use crate::platform::unknown_variant::UnknownVariant;

/// Status of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[derive(Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE", const_into_str)]
#[strum(parse_err_ty = UnknownVariant, parse_err_fn = UnknownVariant::of::<Self>)]
pub enum PaymentStatus {
    /// Not decided yet.
    Pending,
    /// The customer was charged.
    Success,
    /// The gateway declined the charge.
    Failed,
    /// The customer was charged and got the money back.
    Refunded,
    /// Voided before any charge was stored: no later charge succeeds.
    Voided,
}

impl PaymentStatus {
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The text on the wire and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }
}

/// `POST /payments`
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Charge {
    pub order_id: Uuid,
    /// 0.01 to 99999999.99 with at most two decimals; 99.99 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(
        value_type = Option<f64>,
        minimum = 0.01,
        maximum = 99_999_999.99,
        multiple_of = 0.01,
        example = 99.99
    )]
    pub amount: Option<Decimal>,
    /// Fencing token of the caller's attempt. With 1, the service charges without looking for an
    /// earlier payment of the order first. If there is one, it is still the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub epoch: Option<i32>,
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

/// `POST /payments/void`
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Void {
    pub order_id: Uuid,
}

impl FromFields for Void {
    fn from_fields(fields: &mut Fields) -> Self {
        Self {
            order_id: fields.required("order_id", uuid),
        }
    }
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

/// Query of `GET /payments`
#[derive(Debug, Clone, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PaymentsOfOrder {
    pub order_id: Uuid,
}

impl FromFields for PaymentsOfOrder {
    fn from_fields(fields: &mut Fields) -> Self {
        Self {
            order_id: fields.required("order_id", uuid),
        }
    }
}
