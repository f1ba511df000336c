//! `POST /inventory/ship`: the goods of an order leave.

use actix_web::http::StatusCode;
use actix_web::{post, web};

use super::problems::unknown_state;
use super::requests::{ShipOutcome, ShipRequest};
use super::store::ShipBatcher;
use crate::api::{Ship, Shipped};
use crate::domain::ledger::Goods;
use crate::platform::deadline::Deadline;
use crate::platform::fault_injection::failpoint;
use crate::platform::http::extract::Body;
use crate::platform::http::problem::{MEDIA_TYPE, Problem, ProblemBody};
use crate::platform::http::problem_responses::{InvalidRequest, WriteUnavailable};
use crate::platform::plural::{count, is_or_are};

/// Ships an order's stock
///
/// The units that the order holds leave, and the order can neither release nor reserve any more. A
/// repetition changes nothing, and gets the same response.
#[utoipa::path(
    tag = "inventory",
    request_body = Ship,
    responses(
        (status = 200, body = Shipped),
        InvalidRequest,
        (status = 409, description = "nothing-held: the order reserved nothing, or has released \
            it; stale-epoch; stock-mismatch: the product was changed by hand; or \
            unrecognized-state",
            content_type = MEDIA_TYPE, body = ProblemBody),
        WriteUnavailable,
    ),
)]
#[post("/inventory/ship")]
pub async fn ship(
    batcher: web::Data<ShipBatcher>,
    deadline: Deadline,
    body: Body<Ship>,
) -> Result<web::Json<Shipped>, Problem> {
    let Ship { order_id, epoch } = body.0;
    tracing::Span::current().record("order_id", tracing::field::display(order_id));
    failpoint::point("inventory.ship.begin").await;
    deadline.check()?;
    let outcome = batcher
        .submit(ShipRequest { order_id, epoch }, deadline)
        .await
        .map_err(|error| error.into_write_problem(order_id))?;
    failpoint::point("inventory.ship.committed").await;
    let problem = match outcome {
        ShipOutcome::Shipped(Goods {
            product_id,
            quantity,
        }) => {
            return Ok(web::Json(Shipped {
                order_id,
                product_id,
                quantity,
            }));
        }
        ShipOutcome::UnknownState(unknown) => return Err(unknown_state(order_id, &unknown)),
        ShipOutcome::NothingHeld => {
            let detail = "The order holds no stock: it reserved none, or has released it. Nothing \
                          was shipped.";
            Problem::new(StatusCode::CONFLICT, "nothing-held", detail)
        }
        ShipOutcome::StaleEpoch => {
            let detail = "The epoch of this request is stale: a later attempt has taken the order \
                          over. Nothing was shipped.";
            Problem::new(StatusCode::CONFLICT, "stale-epoch", detail)
        }
        ShipOutcome::MoreThanReserved { held, reserved } => {
            let detail = format!(
                "The order holds {}, but only {reserved} of its product {} reserved: the product \
                 was changed by hand. Nothing was shipped; correct the product's reserved units \
                 first.",
                count(held, "unit"),
                is_or_are(reserved)
            );
            Problem::new(StatusCode::CONFLICT, "stock-mismatch", detail)
        }
    };
    Err(problem.with_order_id(order_id))
}
