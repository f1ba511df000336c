//! The problems that payment answers with.

use actix_web::http::StatusCode;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::gateway::GatewayUnavailable;
use crate::platform::db::DatabaseError;
use crate::platform::http::problem::Problem;
use crate::platform::unknown_variant::UnknownVariant;

/// 404: the id or the order has no payment.
pub fn unknown_payment() -> Problem {
    let detail = "There is no such payment.";
    Problem::new(StatusCode::NOT_FOUND, "unknown-payment", detail)
}

/// 409: a newer version stored a status that this version does not know.
pub fn unknown_status(order_id: Uuid, unknown: &UnknownVariant) -> Problem {
    let detail =
        format!("The order's payment has a status that this version does not know: {unknown}.");
    Problem::new(StatusCode::CONFLICT, "unrecognized-state", detail).with_order_id(order_id)
}

/// 422: the order's payment has another amount than the request.
pub fn mismatch(order_id: Uuid, stored: Decimal) -> Problem {
    let detail = format!("The order's payment is of {stored}, not of another amount.");
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "payment-mismatch", detail)
        .with_order_id(order_id)
}

/// 503 `outcome-unknown`: the gateway may have acted without answering.
pub fn gateway_unavailable(order_id: Uuid, error: GatewayUnavailable) -> Problem {
    Problem::outcome_unknown("The payment gateway did not answer.", order_id).with_cause(error)
}

/// 503 `outcome-unknown`: the gateway has acted, but its decision could not be stored or read back.
/// So the answer must not claim that nothing was done, whatever the database did. A fault of this
/// program is a 500.
pub fn not_stored(order_id: Uuid, error: DatabaseError) -> Problem {
    if error.is_internal() {
        return error.into_write_problem(order_id);
    }
    let cause = "The payment gateway has acted, and the database did not store it in time.";
    Problem::outcome_unknown(cause, order_id).with_cause(error)
}
