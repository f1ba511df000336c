//! The description of what is served, and what follows from it: documentation for people, and 405 with `Allow`.

use std::collections::HashMap;

use actix_web::error::PathError;
use actix_web::{Error, HttpRequest, HttpResponse, web};
use serde_json::Value;
use utoipa::openapi::OpenApi;
use utoipa::openapi::path::PathItem;

use super::problem::Problem;

/// The document as it is sent, and the methods of each path.
#[derive(Clone)]
pub struct Description {
    json: web::Bytes,
    methods: HashMap<String, String>,
}

impl Description {
    #[must_use]
    pub fn new(document: &OpenApi) -> Self {
        let methods = document.paths.paths.iter().map(|(path, item)| (path.clone(), allowed(item))).collect();
        let json = serde_json::to_vec(document).unwrap_or_else(|_| Value::Null.to_string().into_bytes());
        Self { json: json.into(), methods }
    }
}

fn allowed(item: &PathItem) -> String {
    let operations =
        [("GET, HEAD", &item.get), ("POST", &item.post), ("PUT", &item.put), ("DELETE", &item.delete)];
    let present = operations.into_iter().filter(|(_, operation)| operation.is_some());
    present.map(|(method, _)| method).collect::<Vec<_>>().join(", ")
}

/// `GET /openapi.json`
pub async fn document(description: web::Data<Description>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(description.json.clone())
}

/// What no route took: 405 where the path is known, else 404.
///
/// # Errors
/// Always; that is its answer.
pub async fn no_route(
    request: HttpRequest,
    description: web::Data<Description>,
) -> Result<HttpResponse, Problem> {
    Err(refusal(&request, request.match_pattern().as_deref(), &description))
}

/// A path parameter that cannot be read: the address of nothing, unless it is that of another route, which then lacks this
/// method (`GET /payments/void` is not a payment named "void").
#[must_use]
pub fn unreadable_path(_: PathError, request: &HttpRequest) -> Error {
    let nothing = || Problem::not_found("There is nothing at this address.");
    let description = request.app_data::<web::Data<Description>>();
    description.map_or_else(nothing, |known| refusal(request, Some(request.path()), known)).into()
}

fn refusal(request: &HttpRequest, pattern: Option<&str>, description: &Description) -> Problem {
    match pattern.and_then(|pattern| description.methods.get(pattern)) {
        Some(allow) => Problem::method_not_allowed(request.method().as_str(), allow.clone()),
        None => Problem::not_found("There is nothing at this address."),
    }
}
