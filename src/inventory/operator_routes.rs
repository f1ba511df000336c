//! The routes for operators: they create products and deliver stock.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, post, put, web};
use uuid::Uuid;

use super::metrics::InventoryMetrics;
use super::problems::{
    delivery_mismatch, insufficient_stock, invalid_product_id, stock_limit_exceeded,
    unknown_product,
};
use super::requests::{DeliveryOutcome, DeliveryRequest};
use super::store::{self, Created};
use crate::api::{CreateProduct, Deliver, Delivery, Stock, is_product_id, product_path};
use crate::platform::db::{Database, WORK_TIMEOUT};
use crate::platform::deadline::Deadline;
use crate::platform::http::extract::Body;
use crate::platform::http::openapi;
use crate::platform::http::operator::Operator;
use crate::platform::http::problem::{MEDIA_TYPE, Problem, ProblemBody};
use crate::platform::http::problem_responses::{InvalidRequest, Unauthorized, WriteUnavailable};

/// Method and pattern of each route in this file.
pub const ROUTES: &[(&str, &str)] = &[
    ("PUT", "/inventory/{product_id}"),
    ("POST", "/inventory/{product_id}/deliveries"),
];

/// Creates a product
///
/// Its stock counts as its first delivery. An existing product stays as it is, whatever the body
/// says.
#[utoipa::path(
    tag = "stock",
    params(("product_id" = String, Path, max_length = 255)),
    request_body = CreateProduct,
    responses(
        (status = 201, description = "Created", body = Stock, headers(("location" = String))),
        (status = 200, description = "The product exists, and was not changed", body = Stock),
        InvalidRequest,
        Unauthorized,
        WriteUnavailable,
    ),
)]
#[put("/inventory/{product_id}")]
pub async fn create_product(
    _: Operator,
    database: web::Data<Database>,
    deadline: Deadline,
    request: HttpRequest,
    product_id: web::Path<String>,
    body: Body<CreateProduct>,
) -> Result<HttpResponse, Problem> {
    openapi::check_path(&request)?;
    if !is_product_id(&product_id) {
        return Err(invalid_product_id());
    }
    let stock = body.0.stock.unwrap_or(0);
    deadline.check()?;
    let created = database
        .run_with_lock_retries_within(time_left(deadline), async |connection| {
            store::create(connection, &product_id, stock).await
        })
        .await
        .map_err(|error| error.into_change_problem("Repeating the request is safe.", true))?;
    Ok(match created {
        Created::Now(row) => {
            tracing::info!(product_id = %*product_id, stock, "product created");
            HttpResponse::Created()
                .insert_header((header::LOCATION, product_path(&product_id)))
                .json(Stock::from(row))
        }
        Created::Before(row) => HttpResponse::Ok().json(Stock::from(row)),
    })
}

/// Delivers stock, or corrects it
///
/// A negative quantity is a correction. It removes units that are in stock, never those that are
/// held for orders. A repetition with the same `delivery_id` changes nothing, and gets the figures
/// of the first response.
#[utoipa::path(
    tag = "stock",
    params(("product_id" = String, Path)),
    request_body = Deliver,
    responses(
        (status = 201, description = "Delivered", body = Delivery),
        (status = 200, description = "Delivered by an earlier request", body = Delivery),
        InvalidRequest,
        Unauthorized,
        (status = 404, description = "unknown-product",
            content_type = MEDIA_TYPE, body = ProblemBody),
        (status = 409, description = "insufficient-stock: a correction of more than is in stock; \
            or stock-limit-exceeded: more than 2,000,000,000 units",
            content_type = MEDIA_TYPE, body = ProblemBody),
        (status = 422, description = "delivery-mismatch: a delivery of this id is of another \
            product or quantity",
            content_type = MEDIA_TYPE, body = ProblemBody),
        WriteUnavailable,
    ),
)]
#[post("/inventory/{product_id}/deliveries")]
pub async fn deliver(
    _: Operator,
    database: web::Data<Database>,
    metrics: web::Data<InventoryMetrics>,
    deadline: Deadline,
    product_id: web::Path<String>,
    body: Body<Deliver>,
) -> Result<(web::Json<Delivery>, StatusCode), Problem> {
    let product_id = product_id.into_inner();
    if !is_product_id(&product_id) {
        return Err(unknown_product(&product_id));
    }
    let Deliver {
        quantity,
        delivery_id,
    } = body.0;
    let is_repeatable = delivery_id.is_some();
    let request = DeliveryRequest {
        delivery_id: delivery_id.unwrap_or_else(|| Uuid::now_v7().to_string()),
        product_id,
        quantity,
    };
    deadline.check()?;
    let outcome = database
        .run_with_lock_retries_within(time_left(deadline), async |connection| {
            store::deliver(connection, &request).await
        })
        .await
        .map_err(|error| {
            let repeat = "Repeating the request with this delivery_id is safe.";
            error
                .into_change_problem(repeat, is_repeatable)
                .with_delivery_id(&request.delivery_id)
        })?;
    metrics.count(&outcome);
    response(&request, outcome).map_err(|problem| problem.with_delivery_id(&request.delivery_id))
}

fn response(
    request: &DeliveryRequest,
    outcome: DeliveryOutcome,
) -> Result<(web::Json<Delivery>, StatusCode), Problem> {
    match outcome {
        DeliveryOutcome::Made(delivery) => {
            let Delivery {
                delivery_id,
                product_id,
                quantity,
                stock,
                ..
            } = &delivery;
            tracing::info!(delivery_id, product_id, quantity, stock, "stock delivered");
            Ok((web::Json(delivery), StatusCode::CREATED))
        }
        DeliveryOutcome::MadeBefore(delivery) => Ok((web::Json(delivery), StatusCode::OK)),
        DeliveryOutcome::OtherPayload => Err(delivery_mismatch()),
        DeliveryOutcome::UnknownProduct => Err(unknown_product(&request.product_id)),
        DeliveryOutcome::InsufficientStock { stock } => Err(insufficient_stock(request, stock)),
        DeliveryOutcome::TooMuchStock => Err(stock_limit_exceeded(request)),
    }
}

/// How long the database may take: no longer than the caller waits.
fn time_left(deadline: Deadline) -> std::time::Duration {
    deadline.remaining().min(WORK_TIMEOUT)
}
