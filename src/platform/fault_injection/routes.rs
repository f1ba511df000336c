//! The HTTP routes of the gremlin. They are exempt from its faults: see [`super::exempt`].

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, delete, get, post, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::gremlin::{AddError, Gremlin};
use super::json::RuleJson;
use super::latency::Latency;
use super::rule_view::RuleView;
use super::rules::MAX_RULES;
use super::spec::RuleSpec;
use crate::platform::http::bearer_token::has_bearer_token;
use crate::platform::http::extract::Body;
use crate::platform::http::marker::LogAtDebug;
use crate::platform::http::problem::{FieldError, Problem, ProblemBody};
use crate::platform::http::problem_responses::{InvalidRequest, NotFound, Unauthorized};

/// `GET /gremlin/rules`
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RuleList {
    /// In the order in which they are evaluated. A rule that has ended is shown for one more
    /// minute.
    pub rules: Vec<RuleView>,
    /// Upper bound on the number of rules.
    pub limit: usize,
}

/// `DELETE /gremlin/rules`
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Removed {
    pub removed: usize,
}

impl Gremlin {
    /// Requires the gremlin's token, if one is configured.
    ///
    /// # Errors
    /// 401 without it.
    pub fn authorize(&self, request: &HttpRequest) -> Result<(), Problem> {
        let Some(token) = &self.config().token else {
            return Ok(());
        };
        if has_bearer_token(request.headers(), token) {
            return Ok(());
        }
        let detail = "Send the token of the gremlin in the header Authorization: Bearer.";
        Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            detail,
        ))
    }
}

/// The latency switch
#[utoipa::path(tag = "gremlin", responses((status = 200, body = Latency),
    Unauthorized))]
#[get("/gremlin/latency")]
async fn show_latency(
    gremlin: web::Data<Gremlin>,
    request: HttpRequest,
) -> Result<web::Json<Latency>, Problem> {
    LogAtDebug::mark(&request);
    gremlin.authorize(&request)?;
    Ok(web::Json(gremlin.latency()))
}

/// Switches a delay of all responses on or off
///
/// The routes of the gremlin, `/metrics`, `/livez`, `/readyz` and the files of the dashboard are
/// exempt. The switch is off when the process starts.
#[utoipa::path(tag = "gremlin", request_body = Latency, responses((status = 200, body = Latency),
    InvalidRequest,
    Unauthorized))]
#[post("/gremlin/latency")]
async fn set_latency(
    gremlin: web::Data<Gremlin>,
    request: HttpRequest,
    body: Body<Latency>,
) -> Result<web::Json<Latency>, Problem> {
    gremlin.authorize(&request)?;
    gremlin.set_latency(body.0);
    Ok(web::Json(gremlin.latency()))
}

/// The rules, and how often each matched and fired
#[utoipa::path(tag = "gremlin", responses((status = 200, body = RuleList),
    Unauthorized))]
#[get("/gremlin/rules")]
async fn list(
    gremlin: web::Data<Gremlin>,
    request: HttpRequest,
) -> Result<web::Json<RuleList>, Problem> {
    LogAtDebug::mark(&request);
    gremlin.authorize(&request)?;
    Ok(web::Json(RuleList {
        rules: gremlin.rules(),
        limit: MAX_RULES,
    }))
}

/// Adds a rule
///
/// Rules are evaluated in the order in which they were added. Delays add up; the first other fault
/// decides how the request ends. The same routes are exempt as from the latency switch. Rules end
/// with the process.
#[utoipa::path(tag = "gremlin", request_body = RuleJson, responses(
    (status = 201, body = RuleView, headers(("location" = String))),
    InvalidRequest,
    Unauthorized,
    (status = 409, description = "too-many-rules", content_type = "application/problem+json",
        body = ProblemBody)))]
#[post("/gremlin/rules")]
async fn add(
    gremlin: web::Data<Gremlin>,
    request: HttpRequest,
    body: Body<RuleSpec>,
) -> Result<HttpResponse, Problem> {
    gremlin.authorize(&request)?;
    let rule = gremlin.add(body.0).map_err(add_problem)?;
    let location = (header::LOCATION, format!("/gremlin/rules/{}", rule.id));
    Ok(HttpResponse::Created().insert_header(location).json(rule))
}

fn add_problem(error: AddError) -> Problem {
    match error {
        AddError::ExemptRoute => Problem::invalid(vec![FieldError {
            field: "route".to_owned(),
            detail: "is a route into which the gremlin injects no faults".to_owned(),
        }]),
        AddError::TooManyRules => {
            let detail = format!("There are already {MAX_RULES} rules. Remove one first.");
            Problem::new(StatusCode::CONFLICT, "too-many-rules", detail)
        }
    }
}

/// Removes a rule
#[utoipa::path(tag = "gremlin", params(("id" = u32, Path)), responses((status = 204),
    Unauthorized,
    NotFound))]
#[delete("/gremlin/rules/{id}")]
async fn remove(
    gremlin: web::Data<Gremlin>,
    request: HttpRequest,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    gremlin.authorize(&request)?;
    if id.parse().is_ok_and(|id| gremlin.remove(id)) {
        Ok(HttpResponse::NoContent().finish())
    } else {
        Err(Problem::not_found("There is no such rule."))
    }
}

/// Removes all rules
#[utoipa::path(tag = "gremlin", responses((status = 200, body = Removed),
    Unauthorized))]
#[delete("/gremlin/rules")]
async fn clear(
    gremlin: web::Data<Gremlin>,
    request: HttpRequest,
) -> Result<web::Json<Removed>, Problem> {
    gremlin.authorize(&request)?;
    Ok(web::Json(Removed {
        removed: gremlin.clear(),
    }))
}

/// Adds the routes of the gremlin, if it is enabled.
pub fn routes(gremlin: &Gremlin, service: &mut ServiceConfig<'_>) {
    if gremlin.config().enabled {
        service
            .service(show_latency)
            .service(set_latency)
            .service(list)
            .service(add)
            .service(remove)
            .service(clear);
    }
}
