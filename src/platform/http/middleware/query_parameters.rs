//! Rejects unknown and repeated query parameters.
//!
//! If a misspelt filter were ignored, the response would contain everything, and look correct.

use std::collections::BTreeSet;

use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::{Error, web};

use crate::platform::http::openapi::Description;
use crate::platform::http::problem::{FieldError, Problem};

/// Upper bound on the errors that one response lists.
const MAX_ERRORS: usize = 32;

/// Middleware: responds with a 400 that names each unknown or repeated parameter.
///
/// # Errors
/// Those of the service behind it.
pub async fn reject_unknown<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B, BoxBody>>, Error> {
    let errors = if request.query_string().is_empty() {
        Vec::new()
    } else {
        errors_of(&request)
    };
    if errors.is_empty() {
        return Ok(next.call(request).await?.map_into_left_body());
    }
    Ok(request
        .error_response(Problem::invalid(errors))
        .map_into_right_body())
}

fn errors_of(request: &ServiceRequest) -> Vec<FieldError> {
    let description = request.app_data::<web::Data<Description>>();
    let pattern = request.match_pattern();
    let known = description.zip(pattern).and_then(|(description, pattern)| {
        description.query_parameters(request.method(), request.path(), &pattern)
    });
    known.map_or_else(Vec::new, |known| errors_in(request.query_string(), known))
}

fn errors_in(query: &str, known: &[String]) -> Vec<FieldError> {
    let mut seen = BTreeSet::new();
    let mut errors: Vec<FieldError> = Vec::new();
    for (name, _) in url::form_urlencoded::parse(query.as_bytes()) {
        let detail = if !known.iter().any(|known| *known == name) {
            "is not a query parameter of this route"
        } else if seen.contains(&name) {
            "is given more than once"
        } else {
            seen.insert(name);
            continue;
        };
        if errors.len() < MAX_ERRORS && errors.iter().all(|error| error.field != name) {
            errors.push(FieldError {
                field: name.into_owned(),
                detail: detail.to_owned(),
            });
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invalid(query: &str) -> Vec<String> {
        let known = ["limit".to_owned(), "status".to_owned()];
        errors_in(query, &known)
            .into_iter()
            .map(|error| error.field)
            .collect()
    }

    #[test]
    fn unknown_and_repeated_parameters_are_named_once() {
        assert_eq!(invalid("limit=1&status=FAILED&"), [""; 0]);
        assert_eq!(invalid("state=FAILED&page=2&page=3"), ["state", "page"]);
        assert_eq!(invalid("limit=1&limit=2&lim%69t=3"), ["limit"]);
        assert_eq!(invalid("Limit=1&=2&x%00"), ["Limit", "", "x\0"]);
    }

    #[test]
    fn the_number_of_errors_is_bounded() {
        let parameters: Vec<_> = (0..10_000).map(|number| format!("p{number}")).collect();
        assert_eq!(invalid(&parameters.join("&")).len(), MAX_ERRORS);
    }
}
