//! Bounds what unanswered requests may hold in memory, and how long a request's head may take.
//!
//! actix keeps up to 128 KiB of a head that is not complete, and a body as it comes in, for as many
//! connections as there are. So each connection counts the bytes that it has received and not
//! answered. Beyond a small allowance they come out of one budget of the process. A connection that
//! finds the budget used up is closed.
//!
//! A client may send its next request before it has the last response. An answer therefore gives
//! back the size of its own request only.
//!
//! actix limits the time for the first head of a connection. The stream limits it for later ones.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{RequestHead, ServiceRequest, ServiceResponse};
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::middleware::Next;
use actix_web::rt::net::TcpStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// Bytes that a connection may hold without touching the budget: more than any ordinary request
/// has.
const FREE_BYTES: usize = 2 * 1024;
/// Bytes beyond these, of all connections of a process together. A buffered request can take twice
/// its size: with this much the whole stays below half of a container of 128 MiB.
const BUDGET_BYTES: usize = 24 * 1024 * 1024;
/// How long a request's head may take to arrive.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of unanswered requests, of all connections of the process.
#[derive(Default)]
pub struct Budget {
    used: AtomicUsize,
}

impl Budget {
    fn take(&self, bytes: usize) -> bool {
        let fits = |used: usize| used.checked_add(bytes).filter(|used| *used <= BUDGET_BYTES);
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Counts a connection's unanswered bytes and requests. The stream and the middleware share it.
pub struct Connection {
    budget: Arc<Budget>,
    /// Bytes received and not answered.
    held: Cell<usize>,
    /// Of these, the bytes taken out of the budget.
    charged: Cell<usize>,
    /// Requests that a handler works on.
    in_progress: Cell<usize>,
    has_served: Cell<bool>,
}

impl Connection {
    fn new(budget: Arc<Budget>) -> Rc<Self> {
        Rc::new(Self {
            budget,
            held: Cell::new(0),
            charged: Cell::new(0),
            in_progress: Cell::new(0),
            has_served: Cell::new(false),
        })
    }

    /// Returns whether the budget has room for the bytes.
    fn hold(&self, bytes: usize) -> bool {
        self.held.set(self.held.get() + bytes);
        let more = self
            .held
            .get()
            .saturating_sub(FREE_BYTES)
            .saturating_sub(self.charged.get());
        let fits = more == 0 || self.budget.take(more);
        if fits {
            self.charged.set(self.charged.get() + more);
        }
        fits
    }

    fn begin(self: &Rc<Self>, bytes: usize) -> RequestInProgress {
        self.in_progress.set(self.in_progress.get() + 1);
        RequestInProgress {
            connection: Rc::clone(self),
            bytes,
        }
    }

    fn finish(&self, bytes: usize) {
        self.in_progress.set(self.in_progress.get() - 1);
        self.has_served.set(true);
        let left = self.held.get().saturating_sub(bytes);
        // Optional white space and the framing of chunks are not part of a request's computed size.
        let left = if self.in_progress.get() == 0 && left <= FREE_BYTES {
            0
        } else {
            left
        };
        self.held.set(left);
        let charged = self.charged.get().min(left.saturating_sub(FREE_BYTES));
        self.budget
            .give_back(self.charged.replace(charged) - charged);
    }

    /// Whether a part of a later request has arrived, and nothing else is to be done.
    fn awaits_head(&self) -> bool {
        self.has_served.get() && self.held.get() > 0 && self.in_progress.get() == 0
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.budget.give_back(self.charged.get());
    }
}

/// A request that a handler works on, from its head to its answer.
struct RequestInProgress {
    connection: Rc<Connection>,
    bytes: usize,
}

impl Drop for RequestInProgress {
    fn drop(&mut self) {
        self.connection.finish(self.bytes);
    }
}

/// The size of a request as most clients write it, without a chunked body.
fn size(head: &RequestHead) -> usize {
    let target = head.uri.path().len() + head.uri.query().map_or(0, |query| query.len() + 1);
    let line = head.method.as_str().len() + target + " HTTP/1.1\r\n".len() + 1;
    let fields = head
        .headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    let length = head
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok());
    let head = line + fields.sum::<usize>() + "\r\n".len();
    head.saturating_add(length.unwrap_or(0))
}

/// Middleware: gives a request's bytes back once it is answered.
///
/// # Errors
/// Those of the service behind it.
pub async fn release_answered<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let connection = request.conn_data::<Rc<Connection>>();
    let _in_progress = connection.map(|connection| connection.begin(size(request.head())));
    next.call(request).await
}

/// A client's connection that counts what it receives.
pub struct MeteredStream {
    stream: TcpStream,
    connection: Rc<Connection>,
    /// When the head that is arriving has to be complete.
    head_deadline: Option<Pin<Box<Sleep>>>,
}

impl MeteredStream {
    #[must_use]
    pub fn new(stream: TcpStream, budget: Arc<Budget>) -> Self {
        Self {
            stream,
            connection: Connection::new(budget),
            head_deadline: None,
        }
    }

    #[must_use]
    pub fn connection(&self) -> &Rc<Connection> {
        &self.connection
    }

    /// Ready, with an error, when a head takes too long.
    fn poll_head_deadline(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.connection.awaits_head() {
            self.head_deadline = None;
            return Poll::Pending;
        }
        let deadline = self
            .head_deadline
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(HEAD_TIMEOUT)));
        deadline
            .as_mut()
            .poll(context)
            .map(|()| Err(self.close("a request's head takes too long")))
    }

    fn close(&self, reason: &str) -> io::Error {
        tracing::debug!(
            held = self.connection.held.get(),
            reason,
            "connection closed"
        );
        io::ErrorKind::ConnectionReset.into()
    }

    fn after_write(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            // While the client takes its responses, it is not late with the next request.
            self.head_deadline = None;
        }
        written
    }
}

impl AsyncRead for MeteredStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_pending() {
            return self.poll_head_deadline(context);
        }
        if !self.connection.hold(buffer.filled().len() - before) {
            return Poll::Ready(Err(self.close("unanswered requests hold too much memory")));
        }
        read
    }
}

impl AsyncWrite for MeteredStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.after_write(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.after_write(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// actix flushes after each answer: a part of the next head may have arrived before it.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(late) = self.poll_head_deadline(context) {
            return Poll::Ready(late);
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_charged_beyond_its_allowance_until_it_is_answered() {
        let budget = Arc::new(Budget::default());
        let connection = Connection::new(Arc::clone(&budget));
        let used = || budget.used.load(Ordering::Relaxed);
        assert!(connection.hold(FREE_BYTES));
        assert_eq!(used(), 0);
        assert!(connection.hold(1000));
        assert_eq!(used(), 1000);
        let request = connection.begin(FREE_BYTES + 1000);
        assert!(!connection.hold(BUDGET_BYTES), "more than there is");
        assert_eq!(used(), 1000);
        drop(connection);
        drop(request);
        assert_eq!(used(), 0, "a closed connection holds nothing");
    }

    #[test]
    fn an_answer_gives_back_its_own_request_only() {
        let budget = Arc::new(Budget::default());
        let connection = Connection::new(Arc::clone(&budget));
        let used = || budget.used.load(Ordering::Relaxed);
        assert!(connection.hold(100 + FREE_BYTES + 5000));
        let first = connection.begin(100);
        assert!(!connection.awaits_head(), "a handler works on a request");
        drop(first);
        assert_eq!(used(), 5000);
        assert!(connection.awaits_head());
        drop(connection.begin(FREE_BYTES + 4990));
        assert_eq!(used(), 0, "a few bytes may be white space");
        assert!(!connection.awaits_head());
    }

    #[test]
    fn the_size_of_a_request_is_what_was_sent() {
        let sent =
            "POST /orders?a=b HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\n0123456789";
        let request = actix_web::test::TestRequest::post()
            .uri("/orders?a=b")
            .insert_header(("host", "localhost"))
            .insert_header(("content-length", "10"))
            .to_srv_request();
        assert_eq!(size(request.head()), sent.len());
    }
}
