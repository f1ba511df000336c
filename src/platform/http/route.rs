//! The route that a request matched.

use actix_web::HttpMessage;
use actix_web::dev::ServiceRequest;
use actix_web::http::Method;

/// The pattern of the route that a request matched; all unmatched requests share one.
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

/// Asked every few seconds by machines; their lines would bury the others.
const ROUTINE: [&str; 5] = ["/health", "/livez", "/readyz", "/metrics", "/sla"];

#[must_use]
pub fn is_routine(route: &str) -> bool {
    ROUTINE.contains(&route)
}

/// Ends the path of a route that takes a batch of calls.
pub const BATCH_SUFFIX: &str = "/batch";

/// Whether a request is a batch of calls.
#[must_use]
pub fn is_batch(request: &ServiceRequest) -> bool {
    request.method() == Method::POST && route_of(request).as_str().ends_with(BATCH_SUFFIX)
}
