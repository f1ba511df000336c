//! The problems of several routes, as the OpenAPI document describes them.

use utoipa::IntoResponses;

use super::problem::{MEDIA_TYPE, ProblemBody};

/// invalid-request or malformed-json: `errors` names each invalid field
#[derive(IntoResponses)]
#[response(status = 400, content_type = MEDIA_TYPE)]
pub struct InvalidRequest(pub ProblemBody);

/// The bearer token is missing or invalid
#[derive(IntoResponses)]
#[response(status = 401, content_type = MEDIA_TYPE)]
pub struct Unauthorized(pub ProblemBody);

/// There is nothing at this address, or no object with this id
#[derive(IntoResponses)]
#[response(status = 404, content_type = MEDIA_TYPE)]
pub struct NotFound(pub ProblemBody);

/// unrecognized-state: a newer version stored a state that this version does not know
#[derive(IntoResponses)]
#[response(status = 409, content_type = MEDIA_TYPE)]
pub struct UnrecognizedState(pub ProblemBody);

/// one-by-one: the gremlin has a fault to inject, so send each call by itself
#[derive(IntoResponses)]
#[response(status = 409, content_type = MEDIA_TYPE)]
pub struct BatchRejected(pub ProblemBody);

/// Nothing was done. `Retry-After` says when to try again
#[derive(IntoResponses)]
#[response(status = 503, content_type = MEDIA_TYPE)]
pub struct Unavailable(pub ProblemBody);

/// With `Retry-After`, nothing was done and nothing will be. With `outcome-unknown`, it is not
/// known whether the change was made
#[derive(IntoResponses)]
#[response(status = 503, content_type = MEDIA_TYPE)]
pub struct WriteUnavailable(pub ProblemBody);

/// The service cannot be reached, or its response cannot be read
#[derive(IntoResponses)]
#[response(status = 502, content_type = MEDIA_TYPE)]
pub struct BadGateway(pub ProblemBody);

/// The service did not respond in time
#[derive(IntoResponses)]
#[response(status = 504, content_type = MEDIA_TYPE)]
pub struct GatewayTimeout(pub ProblemBody);
