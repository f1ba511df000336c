//! Requires the operators' token, if one is configured.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::{FromRequest, HttpRequest, web};

use super::bearer_token::has_bearer_token;
use super::problem::Problem;

/// The token that operators must send, if any.
#[derive(Clone)]
pub struct OperatorToken(pub Option<String>);

/// Extractor: the request has the operators' token, or none is configured. As the first argument of
/// a handler it rejects other requests before their body is read.
pub struct Operator;

impl FromRequest for Operator {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(authorize(request))
    }
}

fn authorize(request: &HttpRequest) -> Result<Operator, Problem> {
    let Some(configured) = request.app_data::<web::Data<OperatorToken>>() else {
        return Err(Problem::internal("the operators' token is not configured"));
    };
    let is_allowed = configured
        .0
        .as_deref()
        .is_none_or(|token| has_bearer_token(request.headers(), token));
    if is_allowed {
        return Ok(Operator);
    }
    let detail = "Send the token of the operators in the header Authorization: Bearer.";
    Err(Problem::new(
        StatusCode::UNAUTHORIZED,
        "unauthorized",
        detail,
    ))
}
