//! `POST /inventory/forget`: deletes the reservations of orders that leave.

use actix_web::{post, web};

use super::store;
use crate::api::{Forget, Forgotten};
use crate::platform::db::{Database, WORK_TIMEOUT};
use crate::platform::deadline::Deadline;
use crate::platform::fault_injection::failpoint;
use crate::platform::http::extract::Body;
use crate::platform::http::problem::Problem;
use crate::platform::http::problem_responses::{InvalidRequest, WriteUnavailable};

/// Deletes the reservations of orders that leave
///
/// Only the order service knows that an order is over. A released reservation of a failed order,
/// and a shipped one of a fulfilled order, is deleted; units that have left are counted by product.
/// Other reservations stay. A repetition changes nothing.
#[utoipa::path(
    tag = "inventory",
    request_body = Forget,
    responses((status = 200, body = Forgotten), InvalidRequest, WriteUnavailable),
)]
#[post("/inventory/forget")]
pub async fn forget(
    database: web::Data<Database>,
    deadline: Deadline,
    body: Body<Forget>,
) -> Result<web::Json<Forgotten>, Problem> {
    failpoint::point("inventory.forget.begin").await;
    deadline.check()?;
    let time_left = deadline.remaining().min(WORK_TIMEOUT);
    let forgotten = database
        .run_with_lock_retries_within(time_left, async |connection| {
            store::forget(connection, &body.0).await
        })
        .await
        .map_err(|error| error.into_change_problem("Repeating the request is safe.", true))?;
    failpoint::point("inventory.forget.committed").await;
    Ok(web::Json(forgotten))
}
