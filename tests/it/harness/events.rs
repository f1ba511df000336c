//! Clients of the event stream `GET /orders/stream`.

use chrono::DateTime;
use serde_json::Value;

use super::{Service, TestDatabase, WAIT_TIMEOUT};

/// One change of an order: the fields that identify it among all changes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    pub order_id: String,
    /// The time of the change, in microseconds since 1970.
    pub at: i64,
    pub reason: String,
}

impl Change {
    pub fn of(data: &Value) -> Self {
        let text = |field: &str| data[field].as_str().unwrap();
        let at = DateTime::parse_from_rfc3339(text("updated_at"))
            .unwrap()
            .timestamp_micros();
        Self {
            order_id: text("id").to_owned(),
            at,
            reason: text("reason").to_owned(),
        }
    }

    /// All stored changes, by ascending id.
    pub async fn stored(database: &TestDatabase) -> Vec<Self> {
        let statement = "SELECT order_id::text, (EXTRACT(EPOCH FROM at) * 1000000)::bigint, reason
            FROM order_events ORDER BY id";
        let rows = database.query(statement).await;
        let change = |row: &tokio_postgres::Row| Self {
            order_id: row.get(0),
            at: row.get(1),
            reason: row.get(2),
        };
        rows.iter().map(change).collect()
    }
}

/// Sorts changes for a comparison, because the order of concurrent transactions is not defined.
pub fn sorted(mut changes: Vec<Change>) -> Vec<Change> {
    changes.sort_unstable();
    changes
}

/// An open event stream, read frame by frame.
pub struct Listener {
    response: reqwest::Response,
    unread: String,
    /// The id of the latest frame that had one: the position to resume at.
    pub id: String,
}

#[derive(Debug)]
pub struct Frame {
    pub event: Option<String>,
    pub data: Option<Value>,
    pub id: Option<String>,
}

impl Listener {
    pub async fn open(service: &Service, resume: Option<&str>) -> Self {
        Self::at(service, "/orders/stream", resume).await
    }

    pub async fn at(service: &Service, path: &str, resume: Option<&str>) -> Self {
        Self::try_at(&format!("{}{path}", service.url), resume)
            .await
            .unwrap()
    }

    /// Opens a stream; `None` if the service does not answer, or not with success.
    pub async fn try_at(url: &str, resume: Option<&str>) -> Option<Self> {
        let mut request = reqwest::Client::new().get(url);
        if let Some(id) = resume {
            request = request.header("last-event-id", id);
        }
        let response = request
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
            .ok()?;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut listener = Self {
            response,
            unread: String::new(),
            id: String::new(),
        };
        let first = listener.frame().await?;
        assert!(first.event.is_none() && first.id.is_some(), "{first:?}");
        Some(listener)
    }

    /// The next frame, without comments; `None` when the stream has ended.
    pub async fn frame(&mut self) -> Option<Frame> {
        tokio::time::timeout(WAIT_TIMEOUT, self.await_frame())
            .await
            .expect("a frame or the end of the stream")
    }

    async fn await_frame(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, rest)) = self.unread.split_once("\n\n") {
                let (frame, rest) = (frame.to_owned(), rest.to_owned());
                self.unread = rest;
                if !frame.starts_with(':') {
                    return Some(self.read(&frame));
                }
                continue;
            }
            let chunk = self.response.chunk().await.ok()??;
            self.unread.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    fn read(&mut self, frame: &str) -> Frame {
        let field = |name: &str| {
            let mut lines = frame.lines();
            lines.find_map(|line| {
                line.strip_prefix(name)?
                    .strip_prefix(": ")
                    .map(str::to_owned)
            })
        };
        let id = field("id");
        if let Some(id) = &id {
            self.id.clone_from(id);
        }
        Frame {
            event: field("event"),
            data: field("data").map(|data| data.parse().unwrap()),
            id,
        }
    }

    /// The data of the next change of an order.
    pub async fn change(&mut self) -> Value {
        let frame = self.frame().await.expect("the stream is open");
        assert_eq!(frame.event.as_deref(), Some("order"), "{frame:?}");
        assert!(frame.id.is_some(), "{frame:?}");
        frame.data.unwrap()
    }

    pub async fn changes(&mut self, count: usize) -> Vec<Change> {
        let mut changes = Vec::new();
        for _ in 0..count {
            changes.push(Change::of(&self.change().await));
        }
        changes
    }

    pub async fn assert_reset(&mut self) {
        let frame = self.frame().await.unwrap();
        assert_eq!(frame.event.as_deref(), Some("reset"), "{frame:?}");
    }
}
