//! Who listens to `GET /orders/stream`.

use serde_json::Value;

use super::{PATIENCE, Service};

/// An open stream, read frame by frame.
pub struct Listener {
    response: reqwest::Response,
    unread: String,
    /// The last id that came.
    pub id: i64,
}

#[derive(Debug)]
pub struct Frame {
    pub event: Option<String>,
    pub data: Option<Value>,
    pub id: Option<i64>,
}

impl Listener {
    pub async fn open(service: &Service, resume: Option<&str>) -> Self {
        Self::at(service, "/orders/stream", resume).await
    }

    pub async fn at(service: &Service, path: &str, resume: Option<&str>) -> Self {
        Self::try_at(&format!("{}{path}", service.url), resume).await.unwrap()
    }

    /// At an address behind which there may be nobody at the moment.
    pub async fn try_at(url: &str, resume: Option<&str>) -> Option<Self> {
        let mut request = reqwest::Client::new().get(url);
        if let Some(id) = resume {
            request = request.header("last-event-id", id);
        }
        let response = request.send().await.and_then(reqwest::Response::error_for_status).ok()?;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut listener = Self { response, unread: String::new(), id: -1 };
        let hello = listener.frame().await?;
        assert!(hello.event.is_none() && hello.id.is_some(), "{hello:?}");
        Some(listener)
    }

    /// The next frame; nothing when the stream has ended.
    pub async fn frame(&mut self) -> Option<Frame> {
        tokio::time::timeout(PATIENCE, self.await_frame()).await.expect("something is told in time")
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
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned))
        };
        let id = field("id").map(|id| id.parse().unwrap());
        self.id = id.unwrap_or(self.id);
        Frame { event: field("event"), data: field("data").map(|data| data.parse().unwrap()), id }
    }

    /// The next change of an order: its id in the stream, and what it says.
    pub async fn change(&mut self) -> (i64, Value) {
        let frame = self.frame().await.expect("the stream goes on");
        assert_eq!(frame.event.as_deref(), Some("order"), "{frame:?}");
        (frame.id.unwrap(), frame.data.unwrap())
    }

    pub async fn changes(&mut self, count: usize) -> Vec<i64> {
        let mut ids = Vec::new();
        for _ in 0..count {
            ids.push(self.change().await.0);
        }
        ids
    }

    pub async fn is_reset(&mut self) {
        let frame = self.frame().await.unwrap();
        assert_eq!(frame.event.as_deref(), Some("reset"), "{frame:?}");
    }
}
