//! `GET /orders/stream`: the feed as server-sent events.

use std::time::Duration;

use actix_web::http::header;
use actix_web::web::Bytes;
use actix_web::{Error, HttpRequest, HttpResponse, get, web};
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::feed::{Feed, Listener, Next};
use crate::api::{FollowOrders, OrderChange};
use crate::platform::db::Database;
use crate::platform::http::extract::Query;
use crate::platform::http::problem::{Problem, ProblemBody};

/// Streams of one process, at most.
pub const MOST_STREAMS: usize = 256;
/// So often something is sent, so that both sides notice when the other is gone.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// What a browser waits before it connects again.
const RETRY_MS: u32 = 1000;

/// Every change of an order, live
///
/// Server-sent events: `order` with an order as of that change, and `reset` when too much was
/// missed, or the event is not one of this stream: then read the list of orders again. Every
/// replica shows the orders of all. An event's id is opaque; a client that sends the last one it
/// got misses nothing.
#[utoipa::path(tag = "order", params(FollowOrders,
    ("last-event-id" = Option<String>, Header, description = "Goes on after this event")),
    responses((status = 200, content_type = "text/event-stream", body = OrderChange),
    (status = 400, content_type = "application/problem+json", body = ProblemBody),
    (status = 503, content_type = "application/problem+json", body = ProblemBody)))]
#[get("/orders/stream")]
pub async fn follow(
    request: HttpRequest,
    feed: web::Data<Feed>,
    places: web::Data<Places>,
    database: web::Data<Database>,
    query: Query<FollowOrders>,
) -> Result<HttpResponse, Problem> {
    let Ok(place) = places.0.clone().try_acquire_owned() else {
        return Err(Problem::unavailable(
            "too-many-streams",
            "Too many streams are open.",
        ));
    };
    // The browser's own header knows better than an address that was made when the page began.
    let header = request
        .headers()
        .get("last-event-id")
        .map(|value| value.to_str().unwrap_or_default());
    let after = header.or(query.0.last_event_id.as_deref());
    let listener = feed.listen(&database, after.map(str::parse)).await?;
    let hello = format!("retry: {RETRY_MS}\nid: {}\n\n", listener.position());
    let first = Some((Some(Bytes::from(hello)), listener, place));
    let events = stream::unfold(
        first,
        |state: Option<(Option<Bytes>, Listener, OwnedSemaphorePermit)>| async {
            let (hello, mut listener, place) = state?;
            let bytes = match hello {
                Some(hello) => hello,
                None => next(&mut listener).await?,
            };
            Some((Ok::<_, Error>(bytes), Some((None, listener, place))))
        },
    );
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        // nginx would hold events back until its buffer is full.
        .insert_header(("x-accel-buffering", "no"))
        .streaming(events))
}

/// How many more streams there may be.
#[derive(Clone)]
pub struct Places(std::sync::Arc<Semaphore>);

impl Default for Places {
    fn default() -> Self {
        Self(std::sync::Arc::new(Semaphore::new(MOST_STREAMS)))
    }
}

async fn next(listener: &mut Listener) -> Option<Bytes> {
    match tokio::time::timeout(HEARTBEAT, listener.next()).await {
        Err(_) => Some(Bytes::from_static(b": still here\n\n")),
        Ok(next) => Some(match next? {
            Next::Changes(events) => events,
            Next::Reset(id) => format!("event: reset\nid: {id}\ndata: {{}}\n\n").into(),
        }),
    }
}
