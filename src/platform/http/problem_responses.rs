//! Problems that several routes answer with, as the OpenAPI document describes them.

use utoipa::IntoResponses;

use super::problem::{MEDIA_TYPE, ProblemBody};

/// invalid-request or malformed-json: `errors` names each field that is wrong
#[derive(IntoResponses)]
#[response(status = 400, content_type = MEDIA_TYPE)]
pub struct InvalidRequest(pub ProblemBody);

/// unrecognized-state: a newer release stored a state that this release does not know
#[derive(IntoResponses)]
#[response(status = 409, content_type = MEDIA_TYPE)]
pub struct UnrecognizedState(pub ProblemBody);

/// one-by-one: a gremlin rule is active, so send each request by itself
#[derive(IntoResponses)]
#[response(status = 409, content_type = MEDIA_TYPE)]
pub struct BatchRejected(pub ProblemBody);

/// With `Retry-After`, nothing was done and nothing will be. With `outcome-unknown`, it is not known
/// whether the change was made
#[derive(IntoResponses)]
#[response(status = 503, content_type = MEDIA_TYPE)]
pub struct Unavailable(pub ProblemBody);
