//! Accepts connections, and bounds what they may cost together: descriptors, and memory for requests that are not answered
//! yet.
//!
//! actix keeps up to 128 KiB of a head that is not complete, and a body as it comes in, for as many connections as there are.
//! So each connection is metered: the bytes it has sent since the service last answered it. Beyond a small allowance they come
//! out of one budget of the process. A connection that finds the budget used up is closed.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_http::body::MessageBody;
use actix_http::{HttpService, Request, Response};
use actix_service::{IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::Error;
use actix_web::dev::{AppConfig, Server};
use actix_web::rt::net::TcpStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::shutdown::Shutdown;

/// Bytes of unanswered requests that a connection may hold without touching the budget: more than any ordinary request has.
const FREE_BYTES: usize = 2 * 1024;
/// Bytes beyond these, of all connections of a process together. A buffered request can take twice its size: with this much the
/// whole stays below half of a container of 128 MiB.
pub const REQUEST_BUDGET_BYTES: usize = 24 * 1024 * 1024;
/// Connections of one thread: more wait in the system's queue until others have gone.
const MAX_CONNECTIONS_PER_WORKER: usize = 4096;
/// Descriptors that a process needs beside connections and the database: its files, and the calls to other services.
const RESERVED_DESCRIPTORS: usize = 288;
/// How long a request's head may take to arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than a client of ours keeps an idle connection (15 s), so that none is closed under its next request.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long requests in progress may take to finish after SIGTERM.
const DRAIN_SECONDS: u64 = 5;

/// Shares a process's descriptors out. `database` is the greatest number of connections to the database; returns how many
/// connections each worker thread may serve.
#[must_use]
pub fn connections_per_worker(descriptors: u64, database: u32, workers: usize) -> usize {
    let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
    let database = usize::try_from(database).unwrap_or(usize::MAX);
    let left = descriptors.saturating_sub(RESERVED_DESCRIPTORS).saturating_sub(database);
    (left / workers.max(1)).clamp(16, MAX_CONNECTIONS_PER_WORKER)
}

/// How a server is set up.
pub struct Settings {
    pub workers: usize,
    pub connections_per_worker: usize,
    pub shutdown: Shutdown,
}

/// Serves an application until told to stop.
///
/// # Errors
/// When the listener cannot be used.
pub fn serve<F, I, S, B>(listener: std::net::TcpListener, settings: Settings, app: F) -> io::Result<Server>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<Error> + 'static,
    S::InitError: std::fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    S::Service: 'static,
    <S::Service as Service<Request>>::Future: 'static,
    B: MessageBody + 'static,
{
    let Settings { workers, connections_per_worker, shutdown } = settings;
    let builder = Server::build();
    let stopping = builder.graceful_shutdown_signal();
    let budget = Arc::new(Budget::default());
    let server = builder
        .workers(workers)
        .max_concurrent_connections(connections_per_worker)
        .shutdown_timeout(DRAIN_SECONDS)
        .shutdown_signal(async move { shutdown.requested().await })
        .listen("http", listener, move || {
            let (budget, stopping) = (Arc::clone(&budget), stopping.clone());
            let app = app().into_factory().map_err(|error| error.into().error_response());
            let http = HttpService::build()
                .graceful_shutdown_signal(move || {
                    let stopping = stopping.clone();
                    async move { stopping.notified().await }
                })
                .keep_alive(KEEP_ALIVE)
                .client_request_timeout(HEAD_TIMEOUT)
                .h1(map_config(app, |()| AppConfig::default()));
            fn_service(move |stream: TcpStream| {
                let accepted = accept(stream, Arc::clone(&budget));
                async move { accepted }
            })
            .and_then(http)
        })?;
    Ok(server.run())
}

fn accept(
    stream: TcpStream,
    budget: Arc<Budget>,
) -> Result<(Metered, Option<std::net::SocketAddr>), actix_http::error::DispatchError> {
    // An answer in several parts would wait for the acknowledgement of the first, which the other side holds back.
    stream.set_nodelay(true).map_err(actix_http::error::DispatchError::Io)?;
    let peer = stream.peer_addr().ok();
    Ok((Metered { stream, budget, held: 0, charged: 0 }, peer))
}

/// Bytes of unanswered requests, of all connections.
#[derive(Default)]
struct Budget {
    used: AtomicUsize,
}

impl Budget {
    fn take(&self, bytes: usize) -> bool {
        let fits = |used: usize| used.checked_add(bytes).filter(|used| *used <= REQUEST_BUDGET_BYTES);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A connection that counts what it has sent since it was last answered.
struct Metered {
    stream: TcpStream,
    budget: Arc<Budget>,
    /// Bytes since the last answer.
    held: usize,
    /// Of these, what is out of the budget.
    charged: usize,
}

impl Metered {
    fn hold(&mut self, bytes: usize) -> bool {
        self.held += bytes;
        let more = self.held.saturating_sub(FREE_BYTES) - self.charged;
        let fits = more == 0 || self.budget.take(more);
        if fits {
            self.charged += more;
        }
        fits
    }

    fn answered(&mut self) {
        self.budget.give_back(std::mem::take(&mut self.charged));
        self.held = 0;
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        self.answered();
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let read = buffer.filled().len() - before;
        if self.hold(read) {
            return Poll::Ready(Ok(()));
        }
        tracing::debug!(held = self.held, "connection closed: unanswered requests hold too much memory");
        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.answered();
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.answered();
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
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
    fn descriptors_are_shared_out_among_database_calls_and_connections() {
        assert_eq!(connections_per_worker(1024, 16, 1), 720);
        assert_eq!(connections_per_worker(1024, 16, 2), 360);
        assert_eq!(connections_per_worker(1_048_576, 16, 8), MAX_CONNECTIONS_PER_WORKER);
        assert_eq!(connections_per_worker(100, 16, 4), 16, "a few are always served");
    }

    #[tokio::test]
    async fn a_connection_is_charged_beyond_its_allowance_until_it_is_answered() {
        let budget = Arc::new(Budget::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut metered = Metered { stream, budget: Arc::clone(&budget), held: 0, charged: 0 };
        let used = || budget.used.load(Ordering::Relaxed);
        assert!(metered.hold(FREE_BYTES));
        assert_eq!(used(), 0);
        assert!(metered.hold(1000));
        assert_eq!(used(), 1000);
        assert!(!metered.hold(REQUEST_BUDGET_BYTES), "more than there is");
        assert_eq!(used(), 1000);
        metered.answered();
        assert_eq!(used(), 0);
        assert!(metered.hold(FREE_BYTES + REQUEST_BUDGET_BYTES));
        drop(metered);
        assert_eq!(used(), 0, "a closed connection holds nothing");
    }
}
