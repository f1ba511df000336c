//! The dashboard: the files of `static/`, inside the binary.

use actix_web::http::header;
use actix_web::{HttpResponse, get};
use utoipa_actix_web::service_config::ServiceConfig;

/// No script, style, picture or connection from anywhere but this service.
const CONTENT_SECURITY_POLICY: &str =
    "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

fn file(content_type: &'static str, text: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(content_type)
        .insert_header((header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .body(text)
}

/// The dashboard
#[utoipa::path(tag = "page", responses((status = 200, content_type = "text/html", body = String)))]
#[get("/")]
async fn index() -> HttpResponse {
    file("text/html; charset=utf-8", include_str!("../../static/index.html"))
}

/// The dashboard's script
#[utoipa::path(tag = "page", responses((status = 200, content_type = "text/javascript", body = String)))]
#[get("/static/app.js")]
async fn script() -> HttpResponse {
    file("text/javascript; charset=utf-8", include_str!("../../static/app.js"))
}

/// The dashboard's style
#[utoipa::path(tag = "page", responses((status = 200, content_type = "text/css", body = String)))]
#[get("/static/app.css")]
async fn style() -> HttpResponse {
    file("text/css; charset=utf-8", include_str!("../../static/app.css"))
}

pub fn routes(service: &mut ServiceConfig<'_>) {
    service.service(index).service(script).service(style);
}
