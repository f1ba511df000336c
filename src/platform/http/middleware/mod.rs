//! The middleware: a file for each layer, and the list of all layers.

pub mod access_log;
pub mod browser_guard;
mod cors;
pub mod framing;
pub mod load_shedding;
pub mod problem_documents;
pub mod query_parameters;
pub mod request_span;
pub mod service_auth;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::middleware::from_fn;
use actix_web::{App, Error};
use tracing_actix_web::TracingLogger;

use super::connection;
use crate::platform::fault_injection;
use request_span::RequestSpan;

/// Wraps an application in all layers. A request passes them from the bottom of this list to the
/// top, because actix-web calls the layer first that was added last.
pub fn stack<T>(
    app: App<T>,
    allowed_origins: &[String],
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody + use<T>>,
        Error = Error,
        InitError = (),
    > + use<T>,
>
where
    T: ServiceFactory<
            ServiceRequest,
            Config = (),
            Response = ServiceResponse<BoxBody>,
            Error = Error,
            InitError = (),
        > + 'static,
{
    app.wrap(from_fn(query_parameters::reject_unknown))
        .wrap(from_fn(fault_injection::inject_faults))
        .wrap(from_fn(service_auth::authenticate))
        .wrap(cors::cors(allowed_origins))
        .wrap(from_fn(browser_guard::reject_other_sites))
        .wrap(from_fn(problem_documents::render))
        .wrap(from_fn(access_log::record))
        .wrap(TracingLogger::<RequestSpan>::new())
        .wrap(from_fn(load_shedding::shed))
        .wrap(from_fn(framing::frame))
        .wrap(from_fn(connection::release_answered))
}
