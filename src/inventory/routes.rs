//! The routes of the inventory service.

use actix_web::http::StatusCode;
use actix_web::middleware::from_fn;
use actix_web::{HttpRequest, HttpResponse, get, post, web};
use uuid::Uuid;

use super::problems::{unknown_product, unknown_state};
use super::requests::{ReleaseOutcome, ReleaseRequest, ReserveOutcome, ReserveRequest};
use super::store::{self, ReleaseBatcher, ReserveBatcher, StockRow};
use crate::api::{Release, Released, Reserve, Reserved, Stock};
use crate::domain::ledger::Goods;
use crate::platform::client::request_batch::server::{self, Batch};
use crate::platform::client::request_batch::{BatchSchema, ResponseLineSchema};
use crate::platform::db::{Database, DatabaseError};
use crate::platform::deadline::Deadline;
use crate::platform::fault_injection::failpoint;
use crate::platform::http::extract::Body;
use crate::platform::http::marker::LogAtDebug;
use crate::platform::http::problem::{MEDIA_TYPE, Problem, ProblemBody};
use crate::platform::http::problem_responses::{
    BatchRejected, InvalidRequest, Unavailable, WriteUnavailable,
};
use crate::platform::plural::{count, is_or_are};

impl From<StockRow> for Stock {
    fn from(row: StockRow) -> Self {
        let StockRow {
            product_id,
            stock,
            reserved,
            shipped,
            stocked,
        } = row;
        Self {
            product_id,
            stock,
            reserved,
            shipped,
            stocked,
        }
    }
}

/// All products
#[utoipa::path(tag = "inventory", responses((status = 200, body = [Stock]), Unavailable))]
#[get("/inventory")]
pub async fn list(
    request: HttpRequest,
    database: web::Data<Database>,
) -> Result<web::Json<Vec<Stock>>, Problem> {
    LogAtDebug::mark(&request);
    let rows = database
        .run_with_lock_retries(async |connection| store::list(connection).await)
        .await;
    let rows = rows.map_err(DatabaseError::into_read_problem)?;
    Ok(web::Json(rows.into_iter().map(Stock::from).collect()))
}

/// One product
#[utoipa::path(
    tag = "inventory",
    params(("product_id" = String, Path)),
    responses(
        (status = 200, body = Stock),
        (status = 404, description = "unknown-product",
            content_type = MEDIA_TYPE, body = ProblemBody),
        Unavailable,
    ),
)]
#[get("/inventory/{product_id}")]
pub async fn show(
    database: web::Data<Database>,
    product_id: web::Path<String>,
) -> Result<web::Json<Stock>, Problem> {
    // PostgreSQL rejects a text with a NUL character, so no product has such an id.
    if product_id.contains('\0') {
        return Err(unknown_product(&product_id));
    }
    let row = database
        .run_with_lock_retries(async |connection| store::find(connection, &product_id).await)
        .await;
    let row = row.map_err(DatabaseError::into_read_problem)?;
    let row = row.ok_or_else(|| unknown_product(&product_id))?;
    Ok(web::Json(row.into()))
}

/// Reserves stock for an order
///
/// A repetition takes no more stock. A higher `epoch` takes the reservation over from a lower one.
#[utoipa::path(
    tag = "inventory",
    request_body = Reserve,
    responses(
        (status = 200, body = Reserved),
        InvalidRequest,
        (status = 404, description = "unknown-product",
            content_type = MEDIA_TYPE, body = ProblemBody),
        (status = 409, description = "insufficient-stock, stale-epoch, already-shipped or \
            unrecognized-state",
            content_type = MEDIA_TYPE, body = ProblemBody),
        (status = 422, description = "reservation-mismatch: the order reserved another product or \
            quantity before",
            content_type = MEDIA_TYPE, body = ProblemBody),
        WriteUnavailable,
    ),
)]
#[post("/inventory/reserve", wrap = "from_fn(server::advertise_batches)")]
pub async fn reserve(
    batcher: web::Data<ReserveBatcher>,
    deadline: Deadline,
    body: Body<Reserve>,
) -> Result<web::Json<Reserved>, Problem> {
    reserve_one(&batcher, body.0, deadline).await
}

/// Reserves stock for several orders
///
/// Each call is handled as `POST /inventory/reserve` would, independently of the others. The
/// response has one line for each, in the order in which they finish. Rejected while the gremlin
/// has a fault to inject.
#[utoipa::path(
    tag = "inventory",
    request_body = BatchSchema<Reserve>,
    responses(
        (status = 200, description = "One line of JSON for each call",
            content_type = "application/x-ndjson", body = ResponseLineSchema),
        InvalidRequest,
        BatchRejected,
    ),
)]
#[post("/inventory/reserve/batch")]
pub async fn reserve_batch(
    batcher: web::Data<ReserveBatcher>,
    batch: Batch<Reserve>,
) -> HttpResponse {
    batch.respond(move |request, deadline| {
        let batcher = batcher.clone();
        async move {
            reserve_one(&batcher, request, deadline)
                .await
                .map(|held| (held, StatusCode::OK))
        }
    })
}

async fn reserve_one(
    batcher: &ReserveBatcher,
    request: Reserve,
    deadline: Deadline,
) -> Result<web::Json<Reserved>, Problem> {
    let request = ReserveRequest {
        order_id: request.order_id.unwrap_or_else(Uuid::now_v7),
        epoch: request.epoch.unwrap_or(1),
        goods: Goods {
            product_id: request.product_id,
            quantity: request.quantity,
        },
    };
    let order_id = request.order_id;
    tracing::Span::current().record("order_id", tracing::field::display(order_id));
    failpoint::point("inventory.reserve.begin").await;
    deadline.check()?;
    let outcome = batcher
        .submit(request.clone(), deadline)
        .await
        .map_err(|error| error.into_write_problem(order_id))?;
    failpoint::point("inventory.reserve.committed").await;
    reserve_response(request, outcome).map(web::Json)
}

fn reserve_response(request: ReserveRequest, outcome: ReserveOutcome) -> Result<Reserved, Problem> {
    let ReserveRequest {
        order_id,
        epoch,
        goods: Goods {
            product_id,
            quantity,
        },
    } = request;
    let problem = match outcome {
        ReserveOutcome::Held { stock, reserved } => {
            return Ok(Reserved {
                order_id,
                product_id,
                quantity,
                stock,
                reserved,
            });
        }
        ReserveOutcome::UnknownProduct => return Err(unknown_product(&product_id)),
        ReserveOutcome::UnknownState(unknown) => return Err(unknown_state(order_id, &unknown)),
        ReserveOutcome::InsufficientStock => {
            let detail = format!("The available stock of {product_id} is below {quantity}.");
            Problem::new(StatusCode::CONFLICT, "insufficient-stock", detail)
        }
        ReserveOutcome::StaleEpoch => {
            let detail = format!(
                "Epoch {epoch} of this order is stale: a later attempt has taken the order over, \
                 or this one has already released its stock."
            );
            Problem::new(StatusCode::CONFLICT, "stale-epoch", detail)
        }
        ReserveOutcome::AlreadyShipped => Problem::new(
            StatusCode::CONFLICT,
            "already-shipped",
            "The goods of this order have left. It cannot reserve any more.",
        ),
        ReserveOutcome::Mismatch => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "reservation-mismatch",
            "This order reserved another product or quantity before.",
        ),
    };
    Err(problem.with_order_id(order_id))
}

/// Releases an order's stock
///
/// A repetition changes nothing. For an unknown order, a later reserve at the same or a lower epoch
/// is rejected. Shipped stock is not given back.
#[utoipa::path(
    tag = "inventory",
    request_body = Release,
    responses(
        (status = 200, body = Released),
        InvalidRequest,
        (status = 409, description = "stock-mismatch: the product was changed by hand; or \
            unrecognized-state",
            content_type = MEDIA_TYPE, body = ProblemBody),
        WriteUnavailable,
    ),
)]
#[post("/inventory/release")]
pub async fn release(
    batcher: web::Data<ReleaseBatcher>,
    deadline: Deadline,
    body: Body<Release>,
) -> Result<web::Json<Released>, Problem> {
    let Release { order_id, epoch } = body.0;
    tracing::Span::current().record("order_id", tracing::field::display(order_id));
    failpoint::point("inventory.release.begin").await;
    deadline.check()?;
    let outcome = batcher
        .submit(ReleaseRequest { order_id, epoch }, deadline)
        .await
        .map_err(|error| error.into_write_problem(order_id))?;
    failpoint::point("inventory.release.committed").await;
    match outcome {
        ReleaseOutcome::Released(released) => Ok(web::Json(Released { order_id, released })),
        ReleaseOutcome::MoreThanReserved { held, reserved } => {
            let detail = format!(
                "The order holds {}, but only {reserved} of its product {} reserved: the product \
                 was changed by hand. Nothing was released; correct the product's reserved units \
                 first.",
                count(held, "unit"),
                is_or_are(reserved)
            );
            Err(Problem::new(StatusCode::CONFLICT, "stock-mismatch", detail)
                .with_order_id(order_id))
        }
        ReleaseOutcome::UnknownState(unknown) => Err(unknown_state(order_id, &unknown)),
    }
}
