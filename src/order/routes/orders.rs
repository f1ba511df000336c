//! The routes of orders: placing, showing and listing them.

use std::time::Duration;

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, get, post, web};
use uuid::Uuid;

use crate::api::{ListOrders, Order, OrderDetail, OrderEvent, OrderPage, OrderStatus, PlaceOrder};
use crate::domain::saga::ChangeReason;
use crate::order::admission::AdmissionControl;
use crate::order::idempotency;
use crate::order::responses::respond;
use crate::order::saga::executor::SagaExecutor;
use crate::order::store::{self, Cursor, Filter, InvalidCursor, NewOrder, OrderRow};
use crate::platform::db::{Database, DatabaseError, WORK_TIMEOUT};
use crate::platform::deadline::Deadline;
use crate::platform::fault_injection::failpoint;
use crate::platform::http::extract::{Body, Query};
use crate::platform::http::problem::{FieldError, Problem, ProblemBody};
use crate::platform::http::problem_responses::{InvalidRequest, NotFound, Unavailable};
use crate::platform::observability::trace_context;

const DEFAULT_PAGE_LENGTH: i32 = 20;
/// The time that a request's attempt has beyond two step timeouts, for the order's own statements.
const ATTEMPT_MARGIN: Duration = Duration::from_millis(100);
/// The lease of a new order lasts this much longer than two step timeouts, so that recovery does
/// not take the order over while its request is in progress.
const NEW_ORDER_LEASE_MARGIN: Duration = Duration::from_secs(2);

/// Places an order
///
/// Responds within two step timeouts and a margin, whatever inventory and payment do. An order
/// with a 202 is finished later without another request.
#[utoipa::path(tag = "order", request_body = PlaceOrder,
    params(("idempotency-key" = Option<String>, Header,
        description = "A request with the same key and body gets the same order",
        min_length = 1, max_length = 255,
        pattern = r#"^([!#-~]([ -~]*[!-~])?|"([ !#-\[\]-~]|\\["\\])+")$"#)),
    responses(
    (status = 201, description = "Confirmed", body = Order, headers(("location" = String))),
    (status = 202, description = "Accepted: inventory or payment is slow or unavailable",
        body = Order, headers(("location" = String), ("retry-after" = i32))),
    (status = 400, description = "No order was stored",
        content_type = "application/problem+json", body = ProblemBody),
    (status = 402, description = "payment-declined",
        content_type = "application/problem+json", body = ProblemBody),
    (status = 409, description = "insufficient-stock, expired, cancelled, order-failed, or \
        idempotency-key-in-flight",
        content_type = "application/problem+json", body = ProblemBody),
    (status = 422, description = "unknown-product, or idempotency-key-reused",
        content_type = "application/problem+json", body = ProblemBody),
    (status = 503, description = "With `Retry-After` and any code but `outcome-unknown`: no order \
        was stored, and none will be. With `outcome-unknown`: the order may have been stored. Get \
        it by `order_id`, or send the same key again",
        content_type = "application/problem+json", body = ProblemBody)))]
#[post("/orders")]
pub async fn place(
    request: HttpRequest,
    executor: web::Data<SagaExecutor>,
    admission: web::Data<AdmissionControl>,
    body: Body<PlaceOrder>,
) -> Result<HttpResponse, Problem> {
    let _permit = admission.try_admit(&executor.metrics)?;
    let key = idempotency::key_from(request.headers())?;
    let attempt_deadline = Deadline::after(executor.step_timeout * 2 + ATTEMPT_MARGIN);
    let new = NewOrder {
        id: Uuid::now_v7(),
        product_id: body.0.product_id.clone(),
        quantity: body.0.quantity,
        traceparent: trace_context::current_traceparent(),
        lease: executor.step_timeout * 2 + NEW_ORDER_LEASE_MARGIN,
        idempotency_key: key.clone(),
    };
    let id = new.id;
    let inserts = &executor.batchers.inserts;
    // Kept until the response: the batcher waits for part of the requests in flight.
    let _in_flight = inserts.enter();
    let stored = inserts
        .submit(new, Deadline::after(WORK_TIMEOUT))
        .await
        .map_err(|error| insert_problem(error, id, key.as_deref()))?;
    let Some(order) = stored else {
        return replay(&executor, &body.0, key.as_deref().unwrap_or_default()).await;
    };
    tracing::Span::current().record("order_id", tracing::field::display(order.id));
    executor
        .metrics
        .count_change(OrderStatus::Pending, ChangeReason::Placed);
    failpoint::point("order.placed").await;
    respond(executor.run_request(order, attempt_deadline).await)
}

/// The response to a request whose order could not be inserted.
fn insert_problem(error: DatabaseError, id: Uuid, key: Option<&str>) -> Problem {
    if !error.is_outcome_unknown() {
        return error.into_write_problem(id);
    }
    let get = format!("GET /orders/{id} shows the order once it is stored");
    let problem = error.into_write_problem(id);
    match key {
        Some(_) => {
            let repeat = "The same request with the same Idempotency-Key creates no second order.";
            problem
                .with_added_detail(&format!("{get}. {repeat}"))
                .with_retry_after(1)
        }
        None => problem.with_added_detail(&format!("{get}, and answers 404 until then.")),
    }
}

/// The response to a request whose idempotency key exists.
async fn replay(
    executor: &SagaExecutor,
    body: &PlaceOrder,
    key: &str,
) -> Result<HttpResponse, Problem> {
    let keyed = executor
        .database
        .run_with_lock_retries(async |connection| store::find_by_key(connection, key).await)
        .await
        .map_err(DatabaseError::into_read_problem)?;
    // Recovery can remove an old key between the insert and this query.
    let keyed = keyed.ok_or_else(|| {
        let detail = "The idempotency key has just expired. Send the request again.";
        Problem::unavailable("idempotency-key-expired", detail)
    })?;
    tracing::Span::current().record("order_id", tracing::field::display(keyed.order.id));
    let order = idempotency::check_replay(keyed, body)?;
    executor.metrics.idempotent_replays.inc();
    match respond(order) {
        Ok(mut response) => {
            let replayed = HeaderName::from_static(idempotency::REPLAYED_HEADER);
            response
                .headers_mut()
                .insert(replayed, HeaderValue::from_static("true"));
            Ok(response)
        }
        Err(problem) => Err(problem.with_header(idempotency::REPLAYED_HEADER, "true")),
    }
}

/// An order and its events
#[utoipa::path(tag = "order", params(("id" = Uuid, Path)), responses(
    (status = 200, body = OrderDetail),
    NotFound,
    Unavailable))]
#[get("/orders/{id}")]
pub async fn show(
    database: web::Data<Database>,
    id: web::Path<Uuid>,
) -> Result<web::Json<OrderDetail>, Problem> {
    tracing::Span::current().record("order_id", tracing::field::display(*id));
    let (order, events) = database
        .run_with_lock_retries(async |connection| {
            let order = store::find(connection, *id).await?;
            Ok::<_, DatabaseError>((order, store::events(connection, *id).await?))
        })
        .await
        .map_err(DatabaseError::into_read_problem)?;
    let order = order.ok_or_else(|| Problem::not_found("There is no such order."))?;
    let events = events.into_iter().map(OrderEvent::from).collect();
    Ok(web::Json(OrderDetail {
        order: order.into(),
        events,
    }))
}

/// Orders, newest first
#[utoipa::path(tag = "order", params(ListOrders), responses(
    (status = 200, body = OrderPage),
    InvalidRequest,
    Unavailable))]
#[get("/orders")]
pub async fn list(
    database: web::Data<Database>,
    query: Query<ListOrders>,
) -> Result<web::Json<OrderPage>, Problem> {
    let ListOrders {
        status,
        product_id,
        settled,
        created_after,
        created_before,
        limit,
        cursor,
    } = query.0;
    let before = cursor
        .map(|cursor| cursor.parse::<Cursor>())
        .transpose()
        .map_err(|error| cursor_problem(&error))?;
    let limit = limit.unwrap_or(DEFAULT_PAGE_LENGTH);
    let filter = Filter {
        status,
        product_id: product_id.as_deref(),
        settled,
        created_after,
        created_before,
        before,
        // One more than the page shows whether there is a next page.
        limit: i64::from(limit) + 1,
    };
    let rows = database
        .run_with_lock_retries(async |connection| store::list(connection, &filter).await)
        .await
        .map_err(DatabaseError::into_read_problem)?;
    Ok(web::Json(page(rows, limit)))
}

fn cursor_problem(error: &InvalidCursor) -> Problem {
    Problem::invalid(vec![FieldError {
        field: "cursor".to_owned(),
        detail: error.to_string(),
    }])
}

/// A page of `limit` orders, from up to one more.
fn page(mut rows: Vec<OrderRow>, limit: i32) -> OrderPage {
    let limit = usize::try_from(limit).unwrap_or_default();
    let has_next = rows.len() > limit;
    rows.truncate(limit);
    let last = rows.last().filter(|_| has_next);
    let next_cursor = last.map(|row| {
        let cursor = Cursor {
            created_at: row.created_at,
            id: row.id,
        };
        cursor.to_string()
    });
    OrderPage {
        orders: rows.into_iter().map(Order::from).collect(),
        next_cursor,
    }
}
