//! Bodies of the inventory service.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::{AnyOfBuilder, ObjectBuilder, Schema, Type};
use uuid::Uuid;

use super::fields::{
    MAX_STOCK, delivered_quantity, delivery_id, epoch, product_id, quantity, stock,
};
use crate::platform::http::extract::{Fields, FromFields, uuid};

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
    /// Generated and returned when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_id: Option<Uuid>,
    /// Fencing token of the caller's attempt; 1 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub epoch: Option<i32>,
}

impl FromFields for Reserve {
    fn from_fields(fields: &mut Fields) -> Self {
        Self {
            product_id: fields.required("product_id", product_id()),
            quantity: fields.required("quantity", quantity()),
            order_id: fields.optional("order_id", uuid),
            epoch: fields.optional("epoch", epoch()),
        }
    }
}

/// A reservation that holds stock, and the stock of its product afterwards.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Reserved {
    pub order_id: Uuid,
    pub product_id: String,
    pub quantity: i32,
    /// Units of the product that can still be reserved.
    pub stock: i32,
    /// Units of the product that are held for orders.
    pub reserved: i32,
}

/// `POST /inventory/release`
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Release {
    pub order_id: Uuid,
    /// Fencing token of the caller's attempt. When absent, the order's stock is released whatever
    /// the epoch of its reservation is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub epoch: Option<i32>,
}

impl FromFields for Release {
    fn from_fields(fields: &mut Fields) -> Self {
        Self {
            order_id: fields.required("order_id", uuid),
            epoch: fields.optional("epoch", epoch()),
        }
    }
}

/// The result of a release.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Released {
    pub order_id: Uuid,
    /// Units that this call gave back; 0 when the order held none.
    pub released: i32,
}

/// `POST /inventory/ship`
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Ship {
    pub order_id: Uuid,
    /// Fencing token of the caller's attempt. When absent, the order's stock is shipped whatever
    /// the epoch of its reservation is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub epoch: Option<i32>,
}

impl FromFields for Ship {
    fn from_fields(fields: &mut Fields) -> Self {
        Self {
            order_id: fields.required("order_id", uuid),
            epoch: fields.optional("epoch", epoch()),
        }
    }
}

/// Goods that have left, with this call or an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Shipped {
    pub order_id: Uuid,
    pub product_id: String,
    pub quantity: i32,
}

/// Stock of one product.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Stock {
    pub product_id: String,
    /// Units that can still be reserved.
    pub stock: i32,
    /// Units held for orders.
    pub reserved: i32,
    /// Units that have left with shipped orders.
    pub shipped: i32,
    /// Sum of the product's deliveries. The audit checks that it is stock + reserved + shipped.
    pub stocked: i32,
}

/// `PUT /inventory/{product_id}`
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct CreateProduct {
    /// Units of a new product; 0 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 2_000_000_000, example = 100)]
    pub stock: Option<i32>,
}

impl FromFields for CreateProduct {
    fn from_fields(fields: &mut Fields) -> Self {
        Self {
            stock: fields.optional("stock", stock()),
        }
    }
}

/// `POST /inventory/{product_id}/deliveries`
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Deliver {
    /// Units to add, or to remove if it is negative. Never 0.
    #[schema(schema_with = delivered_quantity_schema)]
    pub quantity: i32,
    /// Makes a repetition safe. Generated and returned when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(
        min_length = 1,
        max_length = 255,
        pattern = r"^[^\u0000]+$",
        example = "2026-4711"
    )]
    pub delivery_id: Option<String>,
}

/// A whole number other than 0.
fn delivered_quantity_schema() -> Schema {
    let units = |minimum: i32, maximum: i32| {
        ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(minimum))
            .maximum(Some(maximum))
    };
    let quantity = AnyOfBuilder::new()
        .item(units(1, MAX_STOCK))
        .item(units(-MAX_STOCK, -1))
        .description(Some("Units to add, or to remove if it is negative."));
    Schema::AnyOf(quantity.build())
}

impl FromFields for Deliver {
    fn from_fields(fields: &mut Fields) -> Self {
        Self {
            quantity: fields.required("quantity", delivered_quantity),
            delivery_id: fields.optional("delivery_id", delivery_id()),
        }
    }
}

/// A delivery, and the figures of its product right after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Delivery {
    pub delivery_id: String,
    pub product_id: String,
    /// Units that were added; negative for a correction.
    pub quantity: i32,
    /// Units that could then be reserved.
    pub stock: i32,
    /// Units that were then held for orders.
    pub reserved: i32,
    /// Sum of the product's deliveries up to this one.
    pub stocked: i32,
}
