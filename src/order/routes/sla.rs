//! `GET /sla` and `GET /sla/history`.

use actix_web::{HttpRequest, get, web};

use crate::order::sla::{History, Sla, Window};
use crate::platform::http::marker::LogAtDebug;

/// The service level of `POST /orders` over the last 30 s
///
/// Of all replicas together. The requests of other replicas are included within about a second.
#[utoipa::path(tag = "order", responses((status = 200, body = Sla)))]
#[get("/sla")]
pub async fn sla(request: HttpRequest, window: web::Data<Window>) -> web::Json<Sla> {
    LogAtDebug::mark(&request);
    web::Json(window.report())
}

/// The service level of `POST /orders` over the last 10 minutes
///
/// Of all replicas together, as `/sla`.
#[utoipa::path(tag = "order", responses((status = 200, body = History)))]
#[get("/sla/history")]
pub async fn sla_history(request: HttpRequest, window: web::Data<Window>) -> web::Json<History> {
    LogAtDebug::mark(&request);
    web::Json(window.history())
}
