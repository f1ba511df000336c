//! `GET /story.json`: the script that the dashboard plays.

use actix_web::middleware::Compress;
use actix_web::{HttpRequest, get, web};

use crate::api::story::{STORY, Story};
use crate::platform::http::marker::LogAtDebug;

/// The story that the dashboard plays: its chapters, and what is done and expected in each
#[utoipa::path(tag = "page", responses((status = 200, body = Story)))]
#[get("/story.json", wrap = "Compress::default()")]
pub async fn story(request: HttpRequest) -> web::Json<Story> {
    LogAtDebug::mark(&request);
    web::Json(STORY)
}
