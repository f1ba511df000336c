//! The problems that inventory answers with.

use actix_web::http::StatusCode;
use uuid::Uuid;

use super::requests::DeliveryRequest;
use crate::api::MAX_STOCK;
use crate::platform::http::problem::{FieldError, Problem};
use crate::platform::plural::{count, is_or_are};
use crate::platform::unknown_variant::UnknownVariant;

/// 404: the request names a product that does not exist.
pub fn unknown_product(product_id: &str) -> Problem {
    let detail = format!("There is no product {product_id}.");
    Problem::new(StatusCode::NOT_FOUND, "unknown-product", detail)
}

/// 409: a newer version of the program stored a state that this version does not know.
pub fn unknown_state(order_id: Uuid, unknown: &UnknownVariant) -> Problem {
    let detail = format!(
        "The order's reservation is in a state that this version does not know: {unknown}. \
         Nothing was changed."
    );
    Problem::new(StatusCode::CONFLICT, "unrecognized-state", detail).with_order_id(order_id)
}

/// 400: no product can have this id.
pub fn invalid_product_id() -> Problem {
    Problem::invalid(vec![FieldError {
        field: "product_id".to_owned(),
        detail: "must be text of 1 to 255 characters, without NUL".to_owned(),
    }])
}

/// 409: a correction of more than is in stock.
pub fn insufficient_stock(delivery: &DeliveryRequest, stock: i32) -> Problem {
    let DeliveryRequest {
        product_id,
        quantity,
        ..
    } = delivery;
    let detail = format!(
        "Only {} of {product_id} {} in stock, so the correction by {quantity} was not made. Units \
         that are held for orders cannot be removed.",
        count(stock, "unit"),
        is_or_are(stock)
    );
    Problem::new(StatusCode::CONFLICT, "insufficient-stock", detail)
}

/// 409: more would be in stock, or would have been delivered, than the tables hold.
pub fn stock_limit_exceeded(delivery: &DeliveryRequest) -> Problem {
    let DeliveryRequest {
        product_id,
        quantity,
        ..
    } = delivery;
    let detail = format!(
        "With {} of {product_id}, more than {MAX_STOCK} would be in stock, held \
         for orders or shipped. Nothing was delivered.",
        count(*quantity, "more unit")
    );
    Problem::new(StatusCode::CONFLICT, "stock-limit-exceeded", detail)
}

/// 422: a delivery of this id is of another product or quantity.
pub fn delivery_mismatch() -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "delivery-mismatch",
        "A delivery with this delivery_id was made before, of another product or quantity. \
         Nothing was delivered; choose another delivery_id.",
    )
}
