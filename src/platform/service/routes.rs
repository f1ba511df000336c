//! Lists the routes of a service that does not run.

use actix_web::http::Method;

use super::config::Config;
use super::role::{Platform, Role};
use super::run::platform;
use crate::platform::http::app;

/// Returns the method and the path of each route in the service's OpenAPI document. Neither listens
/// nor connects to the database. Must be called on a runtime.
///
/// # Errors
/// When a metric is registered already.
pub fn routes_of<R: Role>(
    config: &Config,
    role: impl FnOnce(&Platform) -> prometheus::Result<R>,
) -> prometheus::Result<Vec<(Method, String)>> {
    let platform = platform::<R>(config)?;
    let role = role(&platform)?;
    Ok(app::routes_of(&role, &platform))
}
