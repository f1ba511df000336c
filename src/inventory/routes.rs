//! Inventory's HTTP.

use actix_web::http::StatusCode;
use actix_web::middleware::from_fn;
use actix_web::{HttpResponse, get, post, web};
use utoipa_actix_web::service_config::ServiceConfig;
use uuid::Uuid;

use super::ledger_batch;
use super::ledger_batch::{ReleaseOutcome, ReserveOutcome};
use super::store::{self, StockRow};
use crate::api::{Release, Released, Reserve, Reserved, Stock};
use crate::domain::ledger::Goods;
use crate::platform::client::request_batch;
use crate::platform::client::request_batch::server::Batch;
use crate::platform::client::request_batch::{BatchSchema, ResponseLineSchema};
use crate::platform::db::batcher::Batcher;
use crate::platform::db::{Database, DatabaseError};
use crate::platform::deadline::Deadline;
use crate::platform::fault_injection::failpoint;
use crate::platform::http::extract::Body;
use crate::platform::http::health::Checks;
use crate::platform::http::problem::{Problem, ProblemBody};
use crate::platform::service::{Platform, Role};

type Reserves = Batcher<ledger_batch::Reserve, ReserveOutcome>;
type Releases = Batcher<ledger_batch::Release, ReleaseOutcome>;

/// The inventory role.
#[derive(Clone)]
pub struct Inventory;

impl Role for Inventory {
    const SERVICE: &'static str = "inventory-service";
    const INTERNAL: bool = true;
    const TABLES: &'static [&'static str] = &["inventory", "reservations"];

    fn checks(&self, platform: &Platform) -> Checks {
        let database = platform.database.clone();
        Checks::new(Self::SERVICE, move || {
            let database = database.clone();
            async move {
                database
                    .is_usable(async |connection| store::find(connection, "").await)
                    .await
            }
        })
    }

    fn routes(&self, platform: &Platform, service: &mut ServiceConfig<'_>) {
        service
            .app_data(web::Data::new(platform.database.clone()))
            .app_data(web::Data::new(Reserves::start(
                &platform.database,
                store::RESERVE,
            )))
            .app_data(web::Data::new(Releases::start(
                &platform.database,
                store::RELEASE,
            )))
            .service(list)
            .service(reserve)
            .service(reserve_all)
            .service(release)
            .service(show);
    }
}

impl From<StockRow> for Stock {
    fn from(row: StockRow) -> Self {
        Self {
            product_id: row.product_id,
            stock: row.stock,
            reserved: row.reserved,
            stocked: row.stocked,
        }
    }
}

/// All products
#[utoipa::path(tag = "inventory", responses((status = 200, body = [Stock]),
    (status = 503, content_type = "application/problem+json", body = ProblemBody)))]
#[get("/inventory")]
async fn list(database: web::Data<Database>) -> Result<web::Json<Vec<Stock>>, Problem> {
    let rows = database
        .run_when_unlocked(async |connection| store::list(connection).await)
        .await;
    let rows = rows.map_err(DatabaseError::of_read)?;
    Ok(web::Json(rows.into_iter().map(Stock::from).collect()))
}

/// One product
#[utoipa::path(tag = "inventory", params(("product_id" = String, Path)), responses((status = 200, body = Stock),
    (status = 404, content_type = "application/problem+json", body = ProblemBody),
    (status = 503, content_type = "application/problem+json", body = ProblemBody)))]
#[get("/inventory/{product_id}")]
async fn show(
    database: web::Data<Database>,
    product_id: web::Path<String>,
) -> Result<web::Json<Stock>, Problem> {
    let unknown = || unknown_product(&product_id);
    if product_id.contains('\0') {
        return Err(unknown());
    }
    let row = database
        .run_when_unlocked(async |connection| store::find(connection, &product_id).await)
        .await;
    let row = row.map_err(DatabaseError::of_read)?;
    row.map(|row| web::Json(row.into())).ok_or_else(unknown)
}

/// Takes stock for an order
///
/// Once per order, however often it is asked. A higher `epoch` takes the order over from a lower
/// one.
#[utoipa::path(tag = "inventory", request_body = Reserve, responses((status = 200, body = Reserved),
    (status = 400, content_type = "application/problem+json", body = ProblemBody),
    (status = 404, description = "unknown-product", content_type = "application/problem+json", body = ProblemBody),
    (status = 409, description = "insufficient-stock, stale-epoch or unrecognized-state", content_type = "application/problem+json", body = ProblemBody),
    (status = 422, description = "The same order with another payload", content_type = "application/problem+json", body = ProblemBody),
    (status = 503, content_type = "application/problem+json", body = ProblemBody)))]
#[post("/inventory/reserve", wrap = "from_fn(request_batch::server::offer)")]
async fn reserve(
    batcher: web::Data<Reserves>,
    deadline: Deadline,
    body: Body<Reserve>,
) -> Result<web::Json<Reserved>, Problem> {
    hold(&batcher, body.0, deadline).await
}

/// Takes stock for several orders
///
/// Each call as `POST /inventory/reserve` by itself, whatever becomes of the others. The answer has
/// a line for each, in the order in which they are done. Refused while the gremlin is at work.
#[utoipa::path(tag = "inventory", request_body = BatchSchema<Reserve>, responses(
    (status = 200, description = "A line of JSON for each call", content_type = "application/x-ndjson", body = ResponseLineSchema),
    (status = 400, content_type = "application/problem+json", body = ProblemBody),
    (status = 409, description = "one-by-one: the gremlin is at work", content_type = "application/problem+json", body = ProblemBody)))]
#[post("/inventory/reserve/batch")]
async fn reserve_all(batcher: web::Data<Reserves>, batch: Batch<Reserve>) -> HttpResponse {
    batch.respond(move |wish, deadline| {
        let batcher = batcher.clone();
        async move {
            hold(&batcher, wish, deadline)
                .await
                .map(|held| (held, StatusCode::OK))
        }
    })
}

async fn hold(
    batcher: &Reserves,
    wish: Reserve,
    deadline: Deadline,
) -> Result<web::Json<Reserved>, Problem> {
    let Reserve {
        product_id,
        quantity,
        order_id,
        epoch,
    } = wish;
    let order_id = order_id.unwrap_or_else(Uuid::now_v7);
    tracing::Span::current().record("order_id", tracing::field::display(order_id));
    let goods = Goods {
        product_id,
        quantity,
    };
    let epoch = epoch.unwrap_or(1);
    failpoint::point("inventory.reserve.begin").await;
    deadline.check()?;
    let message = ledger_batch::Reserve {
        order_id,
        epoch,
        goods: goods.clone(),
    };
    let outcome = batcher
        .submit(message, deadline)
        .await
        .map_err(|error| error.of_write(order_id))?;
    failpoint::point("inventory.reserve.committed").await;
    let conflict = |code, detail: String| {
        Err(Problem::new(StatusCode::CONFLICT, code, detail).of_order(order_id))
    };
    match outcome {
        ReserveOutcome::Held { stock, reserved } => Ok(web::Json(Reserved {
            order_id,
            product_id: goods.product_id,
            quantity,
            stock,
            reserved,
        })),
        ReserveOutcome::InsufficientStock => conflict(
            "insufficient-stock",
            format!(
                "There are no {quantity} units of {} left.",
                goods.product_id
            ),
        ),
        ReserveOutcome::Stale => conflict(
            "stale-epoch",
            format!("Epoch {epoch} of this order was overtaken or has given up."),
        ),
        ReserveOutcome::Unrecognized => Err(unrecognized(order_id)),
        ReserveOutcome::UnknownProduct => Err(unknown_product(&goods.product_id)),
        ReserveOutcome::OtherGoods => {
            let detail = "This order reserved another product or quantity before.";
            Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "reservation-mismatch",
                detail,
            )
            .of_order(order_id))
        }
    }
}

/// Gives an order's stock back
///
/// Once, however often it is asked. An order that was never heard of stays released: a reserve that
/// comes late is refused.
#[utoipa::path(tag = "inventory", request_body = Release, responses((status = 200, body = Released),
    (status = 400, content_type = "application/problem+json", body = ProblemBody),
    (status = 409, description = "stock-mismatch: the product was changed by hand; or unrecognized-state", content_type = "application/problem+json", body = ProblemBody),
    (status = 503, content_type = "application/problem+json", body = ProblemBody)))]
#[post("/inventory/release")]
async fn release(
    batcher: web::Data<Releases>,
    deadline: Deadline,
    body: Body<Release>,
) -> Result<web::Json<Released>, Problem> {
    let Release { order_id, epoch } = body.0;
    tracing::Span::current().record("order_id", tracing::field::display(order_id));
    failpoint::point("inventory.release.begin").await;
    deadline.check()?;
    let outcome = batcher
        .submit(ledger_batch::Release { order_id, epoch }, deadline)
        .await;
    let outcome = outcome.map_err(|error| error.of_write(order_id))?;
    failpoint::point("inventory.release.committed").await;
    match outcome {
        ReleaseOutcome::Released(released) => Ok(web::Json(Released { order_id, released })),
        ReleaseOutcome::MoreThanReserved { held, reserved } => {
            let detail = format!(
                "The order holds {held}, but only {reserved} of its product are reserved: the product was changed by hand. \
                 Nothing was released; correct the product's reserved first."
            );
            Err(Problem::new(StatusCode::CONFLICT, "stock-mismatch", detail).of_order(order_id))
        }
        ReleaseOutcome::Unrecognized => Err(unrecognized(order_id)),
    }
}

fn unrecognized(order_id: Uuid) -> Problem {
    let detail = "The order's reservation is in a state that this release does not know. Nothing was changed.";
    Problem::new(StatusCode::CONFLICT, "unrecognized-state", detail).of_order(order_id)
}

fn unknown_product(product_id: &str) -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "unknown-product",
        format!("There is no product {product_id}."),
    )
}
