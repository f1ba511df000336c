//! `GET /orders/stream`: the live stream as server-sent events.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header;
use actix_web::web::Bytes;
use actix_web::{Error, HttpRequest, HttpResponse, get, web};
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::feed::Feed;
use super::listener::{Listener, Message};
use crate::api::{FollowOrders, OrderChange};
use crate::platform::db::Database;
use crate::platform::http::extract::Query;
use crate::platform::http::marker::LogAtDebug;
use crate::platform::http::problem::Problem;
use crate::platform::http::problem_responses::{InvalidRequest, Unavailable};

/// Open streams of one process.
const MAX_STREAMS: usize = 256;
/// A comment is sent after this time without an event, so that each side notices when the other
/// is gone.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);
/// The time after which a browser connects again, in milliseconds.
const RETRY_MS: u32 = 1000;

/// Every change of an order, live
///
/// Server-sent events: `order` with an order as of one change, and `reset` when the client has
/// missed changes that it will not get. It must then read the list of orders again. Every replica
/// sends the changes of all. An event's id is opaque. A client that sends the last id it received
/// misses no change.
#[utoipa::path(tag = "order", params(FollowOrders,
    ("last-event-id" = Option<String>, Header, description = "Continue after this event")),
    responses((status = 200, content_type = "text/event-stream", body = OrderChange),
    InvalidRequest,
    Unavailable))]
#[get("/orders/stream")]
pub async fn follow(
    request: HttpRequest,
    feed: web::Data<Feed>,
    permits: web::Data<StreamPermits>,
    database: web::Data<Database>,
    query: Query<FollowOrders>,
) -> Result<HttpResponse, Problem> {
    LogAtDebug::mark(&request);
    let Ok(permit) = Arc::clone(&permits.0).try_acquire_owned() else {
        return Err(Problem::unavailable(
            "too-many-streams",
            "Too many streams are open.",
        ));
    };
    // A browser that reconnects sends the header. Its address can have the id that it began with.
    let header = request
        .headers()
        .get("last-event-id")
        .map(|value| value.to_str().unwrap_or_default());
    let after = header.or(query.0.last_event_id.as_deref());
    let listener = feed.listen(&database, after.map(str::parse)).await?;
    let hello = format!("retry: {RETRY_MS}\nid: {}\n\n", listener.position());
    let first = Some((Some(Bytes::from(hello)), listener, permit));
    let events = stream::unfold(
        first,
        |state: Option<(Option<Bytes>, Listener, OwnedSemaphorePermit)>| async {
            let (hello, mut listener, permit) = state?;
            let bytes = match hello {
                Some(hello) => hello,
                None => next(&mut listener).await?,
            };
            Some((Ok::<_, Error>(bytes), Some((None, listener, permit))))
        },
    );
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        // Without this, nginx delays events until its buffer is full.
        .insert_header(("x-accel-buffering", "no"))
        .streaming(events))
}

/// The permits of open streams. Clones share them.
#[derive(Clone)]
pub struct StreamPermits(Arc<Semaphore>);

impl Default for StreamPermits {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_STREAMS)))
    }
}

/// The next bytes of the stream; `None` when it ends.
async fn next(listener: &mut Listener) -> Option<Bytes> {
    match tokio::time::timeout(HEARTBEAT_INTERVAL, listener.next()).await {
        Err(_) => Some(Bytes::from_static(b": heartbeat\n\n")),
        Ok(message) => Some(match message? {
            Message::Changes(events) => events,
            Message::Reset(id) => format!("event: reset\nid: {id}\ndata: {{}}\n\n").into(),
        }),
    }
}
