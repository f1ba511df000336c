//! Forwards the dashboard's requests to inventory and payment. A browser must only reach the order
//! service.

use std::time::Duration;

use actix_web::http::{Method, StatusCode, header};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, delete, get, post, web};
use utoipa_actix_web::service_config::ServiceConfig;

use crate::api::{Deliver, Delivery, product_path};
use crate::order::clients::{INVENTORY, PAYMENT};
use crate::platform::client::{CallError, Client, ForwardedRequest, ForwardedResponse};
use crate::platform::deadline::Deadline;
use crate::platform::http::extract::RawBody;
use crate::platform::http::marker::LogAtDebug;
use crate::platform::http::operator::Operator;
use crate::platform::http::problem::{Problem, ProblemBody};
use crate::platform::http::problem_responses::{
    BadGateway, GatewayTimeout, InvalidRequest, NotFound, Unauthorized, WriteUnavailable,
};

/// Longer than the latency of 3 s that the dashboard's gremlin button sets, so that a slow service
/// still responds. Shorter than the dashboard waits.
pub const FORWARD_TIMEOUT: Duration = Duration::from_millis(3500);

/// The clients of the services, for one worker thread.
pub struct Services {
    pub inventory: Client,
    pub payment: Client,
}

impl Services {
    /// Forwards a request with its bearer token.
    async fn forward_with_token(
        &self,
        service: &str,
        path: &str,
        request: &HttpRequest,
        body: Bytes,
    ) -> Result<HttpResponse, Problem> {
        let authorization = request.headers().get(header::AUTHORIZATION).cloned();
        let forwarded = ForwardedRequest {
            method: request.method().clone(),
            path,
            authorization,
            body,
        };
        self.forward(service, forwarded).await
    }

    async fn forward(
        &self,
        service: &str,
        forwarded: ForwardedRequest<'_>,
    ) -> Result<HttpResponse, Problem> {
        let client = match service {
            INVENTORY => &self.inventory,
            PAYMENT => &self.payment,
            _ => return Err(Problem::not_found("There is no such service.")),
        };
        let forwarded = client.forward(forwarded, Deadline::after(FORWARD_TIMEOUT));
        let received = forwarded
            .await
            .map_err(|error| forward_problem(service, error))?;
        Ok(pass_on(received))
    }
}

/// Builds the response from that of the other service: its status, its body, and the headers that
/// the dashboard reads.
pub fn pass_on(received: ForwardedResponse) -> HttpResponse {
    let mut response = HttpResponse::build(received.status);
    if let Some(content_type) = received.content_type {
        response.insert_header((header::CONTENT_TYPE, content_type));
    }
    // Of a 503, this header says that the request can be repeated safely (docs/api.md).
    if let Some(retry_after) = received.retry_after {
        response.insert_header((header::RETRY_AFTER, retry_after));
    }
    response.body(received.body)
}

/// The problem of a request that got no response. `service` is its name at the start of a sentence.
pub fn forward_problem(service: &str, error: CallError) -> Problem {
    if matches!(error, CallError::TimedOut) {
        let limit = FORWARD_TIMEOUT.as_millis();
        let detail = format!("{service} did not respond within {limit} ms.");
        return Problem::new(StatusCode::GATEWAY_TIMEOUT, "service-silent", detail);
    }
    let detail = format!("{service} cannot be reached.");
    Problem::new(StatusCode::BAD_GATEWAY, "service-unreachable", detail).with_cause(error)
}

/// Health or metrics of inventory or payment
#[utoipa::path(tag = "page",
    params(("service" = String, Path, example = "inventory-service"),
        ("resource" = String, Path, example = "health")),
    responses((status = 200, content((Value = "application/json"), (String = "text/plain"))),
    NotFound,
    BadGateway,
    GatewayTimeout))]
#[get("/services/{service}/{resource}")]
async fn look(
    services: web::Data<Services>,
    request: HttpRequest,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    LogAtDebug::mark(&request);
    let (service, resource) = path.into_inner();
    let path = match resource.as_str() {
        "health" => "/health",
        "metrics" => "/metrics",
        _ => return Err(Problem::not_found("There is nothing at this address.")),
    };
    // These routes need no token.
    let forwarded = ForwardedRequest {
        method: Method::GET,
        path,
        authorization: None,
        body: Bytes::new(),
    };
    services.forward(&service, forwarded).await
}

/// The path of a gremlin resource.
fn gremlin_path(resource: &str) -> Result<&'static str, Problem> {
    match resource {
        "latency" => Ok("/gremlin/latency"),
        "rules" => Ok("/gremlin/rules"),
        _ => Err(Problem::not_found("There is nothing at this address.")),
    }
}

/// The gremlin of inventory or payment
#[utoipa::path(tag = "page",
    params(("service" = String, Path, example = "inventory-service"),
        ("resource" = String, Path, example = "rules")),
    responses((status = 200, body = Value),
    Unauthorized,
    NotFound,
    BadGateway,
    GatewayTimeout))]
#[get("/services/{service}/gremlin/{resource}")]
async fn show_gremlin(
    services: web::Data<Services>,
    request: HttpRequest,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    LogAtDebug::mark(&request);
    services
        .forward_with_token(&path.0, gremlin_path(&path.1)?, &request, Bytes::new())
        .await
}

/// Sets the gremlin of inventory or payment
#[utoipa::path(tag = "page",
    request_body(content = Value, description = "As the service's own route takes it"),
    params(("service" = String, Path, example = "inventory-service"),
        ("resource" = String, Path, example = "rules")),
    responses((status = 200, body = Value), (status = 201, body = Value),
    InvalidRequest,
    Unauthorized,
    NotFound,
    (status = 409, content_type = "application/problem+json", body = ProblemBody),
    (status = 413, content_type = "application/problem+json", body = ProblemBody),
    BadGateway,
    GatewayTimeout))]
#[post("/services/{service}/gremlin/{resource}")]
async fn set_gremlin(
    services: web::Data<Services>,
    request: HttpRequest,
    path: web::Path<(String, String)>,
    body: RawBody,
) -> Result<HttpResponse, Problem> {
    services
        .forward_with_token(&path.0, gremlin_path(&path.1)?, &request, body.0)
        .await
}

/// Removes all rules of inventory or payment
#[utoipa::path(tag = "page",
    params(("service" = String, Path, example = "inventory-service"),
        ("resource" = String, Path, example = "rules")),
    responses((status = 200, body = Value),
    Unauthorized,
    NotFound,
    (status = 405, content_type = "application/problem+json", body = ProblemBody),
    BadGateway,
    GatewayTimeout))]
#[delete("/services/{service}/gremlin/{resource}")]
async fn clear_gremlin(
    services: web::Data<Services>,
    request: HttpRequest,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    services
        .forward_with_token(&path.0, gremlin_path(&path.1)?, &request, Bytes::new())
        .await
}

/// Removes a rule of inventory or payment
#[utoipa::path(tag = "page",
    params(("service" = String, Path, example = "inventory-service"), ("id" = u32, Path)),
    responses((status = 204),
    Unauthorized,
    NotFound,
    BadGateway,
    GatewayTimeout))]
#[delete("/services/{service}/gremlin/rules/{id}")]
async fn remove_rule(
    services: web::Data<Services>,
    request: HttpRequest,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let no_rule = |_| Problem::not_found("There is no such rule.");
    let id: u32 = path.1.parse().map_err(no_rule)?;
    services
        .forward_with_token(
            &path.0,
            &format!("/gremlin/rules/{id}"),
            &request,
            Bytes::new(),
        )
        .await
}

/// Delivers stock, or corrects it, at inventory
#[utoipa::path(tag = "page",
    request_body = Deliver,
    params(("product_id" = String, Path)),
    responses((status = 200, description = "Delivered by an earlier request", body = Delivery),
    (status = 201, description = "Delivered", body = Delivery),
    InvalidRequest,
    Unauthorized,
    (status = 404, content_type = "application/problem+json", body = ProblemBody),
    (status = 409, description = "As of inventory's own route",
        content_type = "application/problem+json", body = ProblemBody),
    (status = 413, content_type = "application/problem+json", body = ProblemBody),
    (status = 422, description = "As of inventory's own route",
        content_type = "application/problem+json", body = ProblemBody),
    BadGateway,
    WriteUnavailable,
    GatewayTimeout))]
#[post("/services/inventory-service/inventory/{product_id}/deliveries")]
async fn deliver(
    _: Operator,
    services: web::Data<Services>,
    request: HttpRequest,
    product_id: web::Path<String>,
    body: RawBody,
) -> Result<HttpResponse, Problem> {
    let path = format!("{}/deliveries", product_path(&product_id));
    services
        .forward_with_token(INVENTORY, &path, &request, body.0)
        .await
}

/// Registers the routes, with the clients that they use.
pub fn routes(services: Services, service: &mut ServiceConfig<'_>) {
    service
        .app_data(web::Data::new(services))
        .service(look)
        .service(show_gremlin)
        .service(set_gremlin)
        .service(clear_gremlin)
        .service(remove_rule)
        .service(deliver);
}
