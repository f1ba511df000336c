//! The dashboard's files: those of `static/`, embedded in the program.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap};
use actix_web::middleware::Compress;
use actix_web::{HttpRequest, HttpResponse, get, web};
use rust_embed::Embed;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::platform::http::marker::LogAtDebug;
use crate::platform::http::problem::Problem;
use crate::platform::http::problem_responses::NotFound;

/// Scripts, styles, images and connections of this service only.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; object-src 'none'; \
    frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

#[derive(Embed)]
#[folder = "static"]
struct Files;

/// `GET /dashboard.json`: what the page needs from the service's configuration.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Dashboard {
    pub version: String,
    /// The address of a trace, with `{trace_id}` for its id.
    #[schema(example = "http://localhost:16686/trace/{trace_id}")]
    pub trace_url: Option<String>,
    pub grafana_url: Option<String>,
    /// An order that is pending, or owes something, for longer than this is stuck.
    pub recovery_bound_seconds: u64,
    /// Whether a demo runs the services, so that `GET /demo` shows their processes.
    pub demo: bool,
}

/// A file, or 304 when the request's headers show that the client has it.
fn file(name: &str, request: &HeaderMap) -> Result<HttpResponse, Problem> {
    let file = Files::get(name).ok_or_else(|| Problem::not_found("There is no such file."))?;
    let etag = format!(
        "{:032x}",
        file.metadata
            .sha256_hash()
            .iter()
            .take(16)
            .fold(0_u128, |tag, byte| tag << 8 | u128::from(*byte))
    );
    let known = request
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok());
    // A proxy that compresses can change the tag's form, not its characters.
    let is_known = known.is_some_and(|known| known.contains(&etag));
    let mut answer = HttpResponse::build(if is_known {
        StatusCode::NOT_MODIFIED
    } else {
        StatusCode::OK
    });
    answer
        .insert_header((header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        // The browser asks each time, so that it has a new version at once.
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((header::ETAG, format!("W/\"{etag}\"")));
    if is_known {
        return Ok(answer.finish());
    }
    Ok(answer
        .content_type(media_type(name))
        .body(file.data.into_owned()))
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

/// The dashboard
#[utoipa::path(tag = "page",
    params(("present" = Option<String>, Query, description = "Asks for the projector view"),
        ("story" = Option<String>, Query,
            description = "Plays the story at once, at this pace: slow, normal or fast")),
    responses((status = 200, content_type = "text/html", body = String)))]
#[get("/", wrap = "Compress::default()")]
async fn index(request: HttpRequest) -> Result<HttpResponse, Problem> {
    LogAtDebug::mark(&request);
    file("index.html", request.headers())
}

/// The dashboard's scripts, styles and images
#[utoipa::path(tag = "page", params(("name" = String, Path, example = "app.js")), responses(
    (status = 200, description = "The file", content((String = "text/javascript"),
        (String = "text/css"), (String = "image/svg+xml"), (String = "text/html"))),
    (status = 304, description = "Not changed"),
    NotFound))]
#[get("/static/{name}", wrap = "Compress::default()")]
async fn asset(request: HttpRequest, name: web::Path<String>) -> Result<HttpResponse, Problem> {
    LogAtDebug::mark(&request);
    file(&name, request.headers())
}

/// The configuration that the dashboard shows
#[utoipa::path(tag = "page", responses((status = 200, body = Dashboard)))]
#[get("/dashboard.json")]
async fn links(request: HttpRequest, dashboard: web::Data<Dashboard>) -> web::Json<Dashboard> {
    LogAtDebug::mark(&request);
    web::Json(dashboard.as_ref().clone())
}

/// Registers the routes.
pub fn routes(dashboard: &Dashboard, service: &mut ServiceConfig<'_>) {
    service
        .app_data(web::Data::new(dashboard.clone()))
        .service(index)
        .service(asset)
        .service(links);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::api::{FailureReason, Obligation, OrderStatus};
    use crate::domain::saga::{CallResult, ChangeReason, Step};

    /// The keys of the object literal `const NAME = {` of a script.
    fn keys(file: &str, name: &str) -> BTreeSet<String> {
        let script = String::from_utf8(Files::get(file).unwrap().data.into_owned()).unwrap();
        let start = format!("const {name} = {{\n");
        let (_, literal) = script.split_once(&start).unwrap();
        let (literal, _) = literal.split_once("\n};").unwrap();
        // Entries are indented by two spaces, and what belongs to an entry by more.
        let entries = literal.lines().filter_map(|line| line.strip_prefix("  "));
        let entries = entries.filter(|line| line.starts_with(|c: char| !" }/*".contains(c)));
        let key = |line: &str| line.split(':').next().unwrap().trim_matches('"').to_owned();
        entries.map(key).collect()
    }

    fn names<T: Copy>(all: &[T], name: fn(T) -> &'static str) -> BTreeSet<String> {
        all.iter().map(|one| name(*one).to_owned()).collect()
    }

    #[test]
    fn the_page_has_a_label_for_each_name_of_the_program_and_for_no_other() {
        let reasons = names(ChangeReason::ALL, ChangeReason::as_str);
        assert_eq!(keys("reasons.js", "REASONS"), reasons);
        assert_eq!(keys("flow-animation.js", "CALLED_SERVICES"), reasons);
        let failures = names(FailureReason::ALL, FailureReason::as_str);
        assert_eq!(keys("reasons.js", "FAILURE_REASONS"), failures);
        assert_eq!(keys("reasons.js", "STEPS"), names(Step::ALL, Step::as_str));
        let results = names(CallResult::ALL, CallResult::as_str);
        assert_eq!(keys("reasons.js", "CALL_RESULTS"), results);
        let statuses = names(OrderStatus::ALL, OrderStatus::as_str);
        assert_eq!(keys("labels.js", "STATUS_LABELS"), statuses);
        let obligations = names(Obligation::ALL, Obligation::as_str);
        assert_eq!(keys("reasons.js", "OBLIGATIONS"), obligations);
    }

    #[test]
    fn the_page_has_a_label_for_each_failure_that_an_order_is_answered_with() {
        let labels = keys("labels.js", "PROBLEM_LABELS");
        for failure in FailureReason::ALL {
            assert!(labels.contains(failure.as_str()), "{failure}");
        }
    }
}
