//! Limits the memory that unanswered requests may occupy, and the time in which the head of a
//! request must arrive.
//!
//! For each connection, actix buffers up to 128 KiB of an incomplete head, and the body as it
//! arrives. So each connection counts the bytes that it has received and not answered. The bytes
//! above a small allowance are taken from one budget of the process. A connection that exceeds the
//! budget is closed.
//!
//! A client may send a request before it has the response to the previous one. So a response
//! returns only the size of its own request to the budget.
//!
//! actix limits the time for the first head of a connection. [`MeteredStream`] limits it for the
//! later ones.

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

/// Bytes that a connection may hold without using the budget. Ordinary requests are smaller.
const ALLOWANCE_BYTES: usize = 2 * 1024;
/// Upper bound on the bytes above the allowances, of all connections of the process. A buffered
/// request can occupy twice its size, so this is less than half of a container with 128 MiB.
const MAX_BUDGET_BYTES: usize = 24 * 1024 * 1024;
/// How long the head of a request may take to arrive.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// The budget for the bytes of unanswered requests. All connections of the process share it.
#[derive(Default)]
pub struct MemoryBudget {
    used: AtomicUsize,
}

impl MemoryBudget {
    /// Takes bytes from the budget. Returns false, and takes nothing, if it has too few left.
    fn take(&self, bytes: usize) -> bool {
        let fits = |used: usize| {
            used.checked_add(bytes)
                .filter(|used| *used <= MAX_BUDGET_BYTES)
        };
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .is_ok()
    }

    fn release(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Counts the unanswered bytes and requests of a connection. The stream and the middleware share
/// it.
pub struct Connection {
    budget: Arc<MemoryBudget>,
    /// Bytes received and not answered.
    held: Cell<usize>,
    /// Those of them that are taken from the budget.
    charged: Cell<usize>,
    /// Requests whose handler is running.
    in_progress: Cell<usize>,
    /// A response was sent.
    has_responded: Cell<bool>,
}

impl Connection {
    fn new(budget: Arc<MemoryBudget>) -> Rc<Self> {
        Rc::new(Self {
            budget,
            held: Cell::new(0),
            charged: Cell::new(0),
            in_progress: Cell::new(0),
            has_responded: Cell::new(false),
        })
    }

    /// Counts received bytes. Returns false if the budget has too few left.
    fn hold(&self, bytes: usize) -> bool {
        self.held.set(self.held.get() + bytes);
        let uncharged = self
            .held
            .get()
            .saturating_sub(ALLOWANCE_BYTES)
            .saturating_sub(self.charged.get());
        let fits = uncharged == 0 || self.budget.take(uncharged);
        if fits {
            self.charged.set(self.charged.get() + uncharged);
        }
        fits
    }

    /// Counts a request in progress until the guard is dropped.
    fn start_request(self: &Rc<Self>, bytes: usize) -> RequestInProgress {
        self.in_progress.set(self.in_progress.get() + 1);
        RequestInProgress {
            connection: Rc::clone(self),
            bytes,
        }
    }

    /// Releases the bytes of an answered request.
    fn finish_request(&self, bytes: usize) {
        self.in_progress.set(self.in_progress.get() - 1);
        self.has_responded.set(true);
        let rest = self.held.get().saturating_sub(bytes);
        // The computed size of a request does not include optional white space and the framing of
        // chunks. So a small rest counts as nothing.
        let rest = if self.in_progress.get() == 0 && rest <= ALLOWANCE_BYTES {
            0
        } else {
            rest
        };
        self.held.set(rest);
        let charged = self.charged.get().min(rest.saturating_sub(ALLOWANCE_BYTES));
        self.budget.release(self.charged.replace(charged) - charged);
    }

    /// Whether a part of a later head has arrived, and no request is in progress.
    fn awaits_head(&self) -> bool {
        self.has_responded.get() && self.held.get() > 0 && self.in_progress.get() == 0
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.budget.release(self.charged.get());
    }
}

/// A request in progress, from its head to its response.
struct RequestInProgress {
    connection: Rc<Connection>,
    bytes: usize,
}

impl Drop for RequestInProgress {
    fn drop(&mut self) {
        self.connection.finish_request(self.bytes);
    }
}

/// Returns the size of a request as most clients write it. A chunked body is not included.
fn request_size(head: &RequestHead) -> usize {
    let target = head.uri.path().len() + head.uri.query().map_or(0, |query| query.len() + 1);
    let request_line = head.method.as_str().len() + target + " HTTP/1.1\r\n".len() + 1;
    let fields = head
        .headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    let length = head
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok());
    let head_size = request_line + fields.sum::<usize>() + "\r\n".len();
    head_size.saturating_add(length.unwrap_or(0))
}

/// Middleware: releases the bytes of a request when its response is ready.
///
/// # Errors
/// Those of the service behind it.
pub async fn release_answered<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let connection = request.conn_data::<Rc<Connection>>();
    let _in_progress =
        connection.map(|connection| connection.start_request(request_size(request.head())));
    next.call(request).await
}

/// The connection of a client, with the bytes that it receives counted.
pub struct MeteredStream {
    stream: TcpStream,
    connection: Rc<Connection>,
    /// When the head that is arriving must be complete.
    head_deadline: Option<Pin<Box<Sleep>>>,
}

impl MeteredStream {
    #[must_use]
    pub fn new(stream: TcpStream, budget: Arc<MemoryBudget>) -> Self {
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

    /// Is ready with an error when a head takes too long.
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
            .map(|()| Err(self.closed("the head of a request takes too long")))
    }

    /// Logs why the connection is closed, and returns the error that closes it.
    fn closed(&self, reason: &str) -> io::Error {
        tracing::debug!(
            held = self.connection.held.get(),
            reason,
            "connection closed"
        );
        io::ErrorKind::ConnectionReset.into()
    }

    fn after_write(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            // While the client reads responses, its next request is not late.
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
            return Poll::Ready(Err(
                self.closed("unanswered requests occupy too much memory")
            ));
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

    /// actix flushes after each response. A part of the next head may already have arrived by then.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(error) = self.poll_head_deadline(context) {
            return Poll::Ready(error);
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
    fn bytes_above_the_allowance_are_charged_until_the_response() {
        let budget = Arc::new(MemoryBudget::default());
        let connection = Connection::new(Arc::clone(&budget));
        let used = || budget.used.load(Ordering::Relaxed);
        assert!(connection.hold(ALLOWANCE_BYTES));
        assert_eq!(used(), 0);
        assert!(connection.hold(1000));
        assert_eq!(used(), 1000);
        let request = connection.start_request(ALLOWANCE_BYTES + 1000);
        assert!(!connection.hold(MAX_BUDGET_BYTES), "more than the budget");
        assert_eq!(used(), 1000);
        drop(connection);
        drop(request);
        assert_eq!(used(), 0, "a closed connection holds nothing");
    }

    #[test]
    fn a_response_releases_only_its_own_request() {
        let budget = Arc::new(MemoryBudget::default());
        let connection = Connection::new(Arc::clone(&budget));
        let used = || budget.used.load(Ordering::Relaxed);
        assert!(connection.hold(100 + ALLOWANCE_BYTES + 5000));
        let first = connection.start_request(100);
        assert!(!connection.awaits_head(), "a request is in progress");
        drop(first);
        assert_eq!(used(), 5000);
        assert!(connection.awaits_head());
        drop(connection.start_request(ALLOWANCE_BYTES + 4990));
        assert_eq!(used(), 0, "a few bytes may be white space");
        assert!(!connection.awaits_head());
    }

    #[test]
    fn the_size_of_a_request_is_that_of_its_bytes() {
        let sent =
            "POST /orders?a=b HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\n0123456789";
        let request = actix_web::test::TestRequest::post()
            .uri("/orders?a=b")
            .insert_header(("host", "localhost"))
            .insert_header(("content-length", "10"))
            .to_srv_request();
        assert_eq!(request_size(request.head()), sent.len());
    }
}
