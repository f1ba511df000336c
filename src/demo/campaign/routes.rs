//! The routes of the control address for campaigns.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Json, ServiceConfig};
use actix_web::{HttpResponse, delete, get, post};

use super::campaigns::Campaigns;
use super::request::CampaignRequest;
use super::view::CampaignView;
use crate::platform::http::extract::Body;
use crate::platform::http::problem::Problem;

/// Starts a campaign.
#[post("/demo/campaigns")]
async fn start(
    campaigns: Data<Campaigns>,
    body: Body<CampaignRequest>,
) -> Result<HttpResponse, Problem> {
    if campaigns.start(&body.0) {
        return Ok(HttpResponse::Accepted().json(campaigns.current()));
    }
    let detail = "A campaign runs already. Wait until it ends, or stop it first.";
    Err(Problem::new(
        StatusCode::CONFLICT,
        "campaign-running",
        detail,
    ))
}

/// The latest campaign, also after its end.
#[get("/demo/campaigns/current")]
async fn show(campaigns: Data<Campaigns>) -> Json<CampaignView> {
    Json(campaigns.current())
}

/// Asks the campaign to stop. It ends its processes first.
#[delete("/demo/campaigns/current")]
async fn stop(campaigns: Data<Campaigns>) -> Result<HttpResponse, Problem> {
    if campaigns.stop() {
        return Ok(HttpResponse::Accepted().json(campaigns.current()));
    }
    Err(Problem::not_found("No campaign runs."))
}

/// Adds the routes.
pub fn configure(service: &mut ServiceConfig) {
    service.service(start).service(show).service(stop);
}
