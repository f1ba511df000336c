//! The OpenAPI document of a service. The known query parameters of each route and the allowed
//! methods of each path are derived from it.

use std::collections::HashMap;

use actix_web::error::PathError;
use actix_web::http::Method;
use actix_web::{Error, HttpRequest, HttpResponse, web};
use serde_json::Value;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn, PathItem};
use utoipa::openapi::{Content, OpenApi, Ref, RefOr, ResponseBuilder};

use super::problem::{self, Problem};

/// The serialized document, and the routes of each path in it.
#[derive(Clone)]
pub struct Description {
    json: web::Bytes,
    routes: HashMap<String, Vec<Route>>,
}

#[derive(Clone)]
struct Route {
    method: Method,
    query_parameters: Vec<String>,
}

impl Description {
    /// Reads the routes of `document`, and adds the responses that the middleware can send.
    #[must_use]
    pub fn new(mut document: OpenApi) -> Self {
        let mut routes = HashMap::new();
        for (path, item) in &mut document.paths.paths {
            let described = operations_of(item).into_iter().map(|(method, operation)| {
                add_common_responses(&method, operation);
                Route {
                    method,
                    query_parameters: query_parameters_of(operation),
                }
            });
            routes.insert(path.clone(), described.collect());
        }
        let json =
            serde_json::to_vec(&document).unwrap_or_else(|_| Value::Null.to_string().into_bytes());
        Self {
            json: json.into(),
            routes,
        }
    }

    /// Returns the method and the path of each route, in any order.
    pub fn routes(&self) -> impl Iterator<Item = (&Method, &str)> {
        let paths = self.routes.iter();
        paths.flat_map(|(path, routes)| routes.iter().map(|route| (&route.method, path.as_str())))
    }

    /// Returns the names of the query parameters of a route; none for a path that the document does
    /// not contain. Returns `None` if the path does not have the method.
    #[must_use]
    pub fn query_parameters(
        &self,
        method: &Method,
        path: &str,
        pattern: &str,
    ) -> Option<&[String]> {
        // `/payments/void` also matches the pattern `/payments/{id}`, but is a separate route.
        let Some(routes) = self.routes.get(path).or_else(|| self.routes.get(pattern)) else {
            return Some(&[]);
        };
        routes
            .iter()
            .find(|route| route.method == method)
            .map(|route| route.query_parameters.as_slice())
    }

    /// Returns the methods of a path, in the format of the header `Allow`.
    fn allowed_methods(&self, path: &str) -> Option<String> {
        let names = self
            .routes
            .get(path)?
            .iter()
            .map(|route| match route.method {
                Method::GET => "GET, HEAD",
                ref other => other.as_str(),
            });
        Some(names.collect::<Vec<_>>().join(", "))
    }
}

fn operations_of(item: &mut PathItem) -> Vec<(Method, &mut Operation)> {
    let operations = [
        (Method::GET, item.get.as_mut()),
        (Method::POST, item.post.as_mut()),
        (Method::PUT, item.put.as_mut()),
        (Method::DELETE, item.delete.as_mut()),
    ];
    operations
        .into_iter()
        .filter_map(|(method, operation)| Some((method, operation?)))
        .collect()
}

fn query_parameters_of(operation: &Operation) -> Vec<String> {
    let name = |parameter: &RefOr<Parameter>| match parameter {
        RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Query => {
            Some(parameter.name.clone())
        }
        _ => None,
    };
    operation
        .parameters
        .iter()
        .flatten()
        .filter_map(name)
        .collect()
}

/// Adds the responses of the middleware and the extractors, unless the route describes them itself.
fn add_common_responses(method: &Method, operation: &mut Operation) {
    let always = [
        (
            "400",
            "A query parameter is unknown, or is given more than once",
        ),
        (
            "421",
            "misdirected-request: the service listens on a loopback address, and `Host` has \
             another name",
        ),
    ];
    let on_change = [(
        "403",
        "cross-site-request: a page of another site made the browser send this request",
    )];
    let with_body = [
        ("408", "too-slow: the body did not arrive in time"),
        ("413", "too-large: the body is too long"),
        (
            "415",
            "unsupported-content-encoding: the body has a Content-Encoding",
        ),
    ];
    let on_change = on_change.into_iter().filter(|_| *method != Method::GET);
    // The POST routes that need no body read it nevertheless.
    let reads_body = operation.request_body.is_some() || *method == Method::POST;
    let with_body = with_body.into_iter().filter(|_| reads_body);
    for (status, description) in always.into_iter().chain(on_change).chain(with_body) {
        operation
            .responses
            .responses
            .entry(status.to_owned())
            .or_insert_with(|| {
                let content = Content::new(Some(Ref::from_schema_name("Problem")));
                let response = ResponseBuilder::new().description(description);
                response
                    .content(problem::MEDIA_TYPE, content)
                    .build()
                    .into()
            });
    }
}

/// `GET /openapi.json`
pub async fn document(description: web::Data<Description>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .body(description.json.clone())
}

/// Handles a request without a route.
///
/// # Errors
/// Always: 405 if the path has other methods, 404 otherwise.
pub async fn no_route(
    request: HttpRequest,
    description: web::Data<Description>,
) -> Result<HttpResponse, Problem> {
    Err(no_route_problem(
        &request,
        request.match_pattern().as_deref(),
        &description,
    ))
}

/// Handles a path parameter that cannot be parsed: 405 if the path also belongs to a route with
/// other methods, 404 otherwise. For example, `GET /payments/void` does not ask for a payment with
/// the id "void".
#[must_use]
pub fn invalid_path(_: PathError, request: &HttpRequest) -> Error {
    let description = request.app_data::<web::Data<Description>>();
    description
        .map_or_else(nothing_here, |known| {
            no_route_problem(request, Some(request.path()), known)
        })
        .into()
}

/// Rejects a request whose path belongs to another route, although it matches the pattern of the
/// route that handles it. For example, `PUT /inventory/release` creates no product "release".
///
/// # Errors
/// 405 if the path is that of another route.
pub fn check_path(request: &HttpRequest) -> Result<(), Problem> {
    let description = request.app_data::<web::Data<Description>>();
    match description.and_then(|known| known.allowed_methods(request.path())) {
        Some(allow) => Err(Problem::method_not_allowed(
            request.method().as_str(),
            allow,
        )),
        None => Ok(()),
    }
}

fn no_route_problem(
    request: &HttpRequest,
    pattern: Option<&str>,
    description: &Description,
) -> Problem {
    match pattern.and_then(|pattern| description.allowed_methods(pattern)) {
        Some(allow) => Problem::method_not_allowed(request.method().as_str(), allow),
        None => nothing_here(),
    }
}

fn nothing_here() -> Problem {
    Problem::not_found("There is nothing at this address.")
}
