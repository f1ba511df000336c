//! The route of a request, and how it is treated.

use actix_web::HttpMessage;
use actix_web::dev::ServiceRequest;
use actix_web::http::Method;

/// The pattern of the route that a request matches. All requests without a route share one.
#[derive(Clone)]
pub struct Route(String);

impl Route {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns the route of a request.
#[must_use]
pub fn route_of(request: &ServiceRequest) -> Route {
    let known = request.extensions().get::<Route>().cloned();
    known.unwrap_or_else(|| {
        Route(
            request
                .match_pattern()
                .unwrap_or_else(|| "unmatched".to_owned()),
        )
    })
}

/// Routes of every service that programs request every few seconds. They are logged at the level
/// debug, because their lines would hide the others, and traced only as a part of another trace.
const POLLED_ROUTES: [&str; 4] = ["/health", "/livez", "/readyz", "/metrics"];

/// Whether a route is one that programs request every few seconds.
#[must_use]
pub fn is_polled(route: &str) -> bool {
    POLLED_ROUTES.contains(&route)
}

/// The path of a batch is the path of its route with this suffix.
pub const BATCH_SUFFIX: &str = "/batch";

/// Whether a request is a batch of calls.
#[must_use]
pub fn is_batch(request: &ServiceRequest) -> bool {
    request.method() == Method::POST && route_of(request).as_str().ends_with(BATCH_SUFFIX)
}
