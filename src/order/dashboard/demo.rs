//! Forwards the dashboard's requests to the demo that runs the services: to see their processes,
//! and to kill them. Without a demo, these routes do not exist.

use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, delete, get, post, web};
use utoipa_actix_web::service_config::ServiceConfig;

use super::proxy::{FORWARD_TIMEOUT, forward_problem, pass_on};
use crate::platform::client::{BaseUrl, Client, ForwardedRequest};
use crate::platform::deadline::Deadline;
use crate::platform::fault_injection::Gremlin;
use crate::platform::http::extract::RawBody;
use crate::platform::http::marker::LogAtDebug;
use crate::platform::http::problem::{Problem, ProblemBody};
use crate::platform::http::problem_responses::{
    BadGateway, GatewayTimeout, InvalidRequest, NotFound, Unauthorized,
};

/// The server that controls the demo.
#[derive(Debug, Clone)]
pub struct DemoControl {
    pub url: BaseUrl,
    /// The bearer token that the demo requires.
    pub token: String,
}

/// The client of the demo, for one worker thread.
struct DemoClient(Client);

impl DemoClient {
    /// Forwards a request to the same path of the demo. The client sends the demo's token.
    async fn forward(&self, request: &HttpRequest, body: Bytes) -> Result<HttpResponse, Problem> {
        let forwarded = ForwardedRequest {
            method: request.method().clone(),
            path: request.path(),
            authorization: None,
            body,
        };
        let forwarded = self.0.forward(forwarded, Deadline::after(FORWARD_TIMEOUT));
        let received = forwarded
            .await
            .map_err(|error| forward_problem("The demo", error))?;
        Ok(pass_on(received))
    }
}

/// The processes of the services, in a demo
#[utoipa::path(tag = "page", responses((status = 200, body = Value), BadGateway, GatewayTimeout))]
#[get("/demo")]
async fn show(demo: web::Data<DemoClient>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    LogAtDebug::mark(&request);
    demo.forward(&request, Bytes::new()).await
}

/// A resource of the demo
#[utoipa::path(tag = "page", params(("resource" = String, Path, example = "services")),
    responses((status = 200, body = Value), NotFound, BadGateway, GatewayTimeout))]
#[get("/demo/{resource:.*}")]
async fn show_resource(
    demo: web::Data<DemoClient>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    LogAtDebug::mark(&request);
    demo.forward(&request, Bytes::new()).await
}

/// Changes a resource of the demo
///
/// `POST /demo/services/inventory/kill` kills the process of inventory with SIGKILL, and the demo
/// starts it again. Like the routes of the gremlin, this one requires `GREMLIN_TOKEN` if it is set.
#[utoipa::path(tag = "page",
    params(("resource" = String, Path, example = "services/inventory/kill")),
    request_body(content = Value, description = "As the resource takes it"),
    responses((status = 202, description = "Killed, or the campaign is started"),
    InvalidRequest,
    Unauthorized,
    NotFound,
    (status = 409, description = "already-ended: the process has ended. campaign-running: a \
        campaign runs",
        content_type = "application/problem+json", body = ProblemBody),
    BadGateway,
    GatewayTimeout))]
#[post("/demo/{resource:.*}")]
async fn change_resource(
    demo: web::Data<DemoClient>,
    gremlin: web::Data<Gremlin>,
    request: HttpRequest,
    body: RawBody,
) -> Result<HttpResponse, Problem> {
    gremlin.authorize(&request)?;
    demo.forward(&request, body.0).await
}

/// Ends a resource of the demo
///
/// Requires `GREMLIN_TOKEN`, if it is set.
#[utoipa::path(tag = "page", params(("resource" = String, Path, example = "campaigns/current")),
    responses((status = 202, description = "The campaign is asked to stop"),
    Unauthorized,
    NotFound,
    BadGateway,
    GatewayTimeout))]
#[delete("/demo/{resource:.*}")]
async fn end_resource(
    demo: web::Data<DemoClient>,
    gremlin: web::Data<Gremlin>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    gremlin.authorize(&request)?;
    demo.forward(&request, Bytes::new()).await
}

/// Registers the routes, with the client that they use.
pub fn routes(control: &DemoControl, service: &mut ServiceConfig<'_>) {
    let client = Client::with_token(control.url.clone(), Some(&control.token));
    service
        .app_data(web::Data::new(DemoClient(client)))
        .service(show)
        .service(show_resource)
        .service(change_resource)
        .service(end_resource);
}
