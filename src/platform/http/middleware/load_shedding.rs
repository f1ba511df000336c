//! Rejects requests to an overloaded service before anything else is done for them.
//!
//! A rejected request has no span and no log line. It is counted and timed like any other, and its
//! response has a trace id.

use std::sync::Arc;
use std::time::Instant;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, header};
use actix_web::middleware::Next;
use actix_web::{Error, web};

use super::{access_log, problem_documents};
use crate::platform::fault_injection::Gremlin;
use crate::platform::http::problem::Problem;
use crate::platform::observability::trace_context;

/// A function that returns the rejection of a request with this method and path, or `None` while
/// the service has room for it. It rejects only paths of routes without parameters.
pub type LoadShedder = Arc<dyn Fn(&Method, &str) -> Option<Problem> + Send + Sync>;

/// Middleware: rejects the requests that the service's [`LoadShedder`] rejects.
///
/// # Errors
/// Those of the service behind it.
pub async fn shed<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let started = Instant::now();
    let Some(problem) = rejection(&request) else {
        return Ok(next.call(request).await?.map_into_left_body());
    };
    // actix-http decodes the body after this future was polled first, and closes a connection whose
    // request has an unread body.
    tokio::task::yield_now().await;
    let trace_id = trace_context::trace_id_for(request.headers());
    let mut response = problem.response(Some(request.path()), Some(&trace_id));
    problem_documents::add_trace_id(response.headers_mut(), &trace_id);
    access_log::count(&request, response.status(), started.elapsed());
    Ok(request.into_response(response).map_into_right_body())
}

fn rejection(request: &ServiceRequest) -> Option<Problem> {
    let shedder = request.app_data::<LoadShedder>()?;
    // A browser needs the headers of CORS to read the response. A fault must hit every request that
    // its rule matches. The layers behind this one do both.
    let is_from_browser = request.headers().contains_key(header::ORIGIN);
    let gremlin = request.app_data::<web::Data<Gremlin>>();
    if is_from_browser || gremlin.is_some_and(|gremlin| !gremlin.is_idle()) {
        return None;
    }
    shedder(request.method(), request.path())
}
