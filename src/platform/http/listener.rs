//! Accepts connections: as many as the limit of open files permits in addition to the connections
//! to the database.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::body::MessageBody;
use actix_http::{HttpService, Request, Response};
use actix_service::{
    IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt, fn_service, map_config,
};
use actix_web::Error;
use actix_web::dev::{AppConfig, Server};
use actix_web::rt::net::TcpStream;

use super::connection::{HEAD_TIMEOUT, MemoryBudget, MeteredStream};
use crate::platform::shutdown::Shutdown;

/// Upper bound on the connections of one worker thread. Further ones wait in the queue of the
/// operating system.
const MAX_CONNECTIONS_PER_WORKER: usize = 4096;
/// Lower bound on the connections of one worker thread.
const MIN_CONNECTIONS_PER_WORKER: usize = 16;
/// File descriptors that a process needs for its files and for calls to other services.
const RESERVED_DESCRIPTORS: usize = 288;
/// How long an idle connection stays open. It is longer than the 15 s of the client of the
/// services, so that a connection is not closed just as that client sends a request.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(75);
/// How long the requests in progress may take after SIGTERM, in seconds.
pub const DRAIN_TIMEOUT_SECONDS: u64 = 5;

/// Returns how many connections each worker thread may have. `descriptors` is the limit of open
/// files of the process, and `database_connections` the upper bound on its connections to the
/// database.
#[must_use]
pub fn connections_per_worker(
    descriptors: u64,
    database_connections: u32,
    workers: usize,
) -> usize {
    let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
    let database_connections = usize::try_from(database_connections).unwrap_or(usize::MAX);
    let available = descriptors
        .saturating_sub(RESERVED_DESCRIPTORS)
        .saturating_sub(database_connections);
    (available / workers.max(1)).clamp(MIN_CONNECTIONS_PER_WORKER, MAX_CONNECTIONS_PER_WORKER)
}

/// Explains why a service cannot listen on an address, and what to change. `port_settings` names
/// the environment variable and the flag of the port.
#[must_use]
pub fn explain_bind_error(error: &io::Error, address: SocketAddr, port_settings: &str) -> String {
    let (host, port) = (address.ip(), address.port());
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("port {port} is taken by another program; set {port_settings} to a free one")
        }
        io::ErrorKind::PermissionDenied => {
            format!(
                "port {port} needs privileges that this user does not have; \
                 set {port_settings} to one above 1023"
            )
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("{host} is not an address of this machine; set HOST (--host) to one that is")
        }
        _ => error.to_string(),
    }
}

/// The settings of a server.
pub struct Settings {
    pub workers: usize,
    pub connections_per_worker: usize,
    pub shutdown: Shutdown,
}

/// Serves an application until it is asked to stop.
///
/// # Errors
/// When the listener cannot be used.
pub fn serve<F, I, S, B>(
    listener: std::net::TcpListener,
    settings: Settings,
    app: F,
) -> io::Result<Server>
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
    let Settings {
        workers,
        connections_per_worker,
        shutdown,
    } = settings;
    let builder = Server::build();
    let stopping = builder.graceful_shutdown_signal();
    let budget = Arc::new(MemoryBudget::default());
    let server = builder
        .workers(workers)
        .max_concurrent_connections(connections_per_worker)
        .shutdown_timeout(DRAIN_TIMEOUT_SECONDS)
        .shutdown_signal(async move { shutdown.requested().await })
        .listen("http", listener, move || {
            let (budget, stopping) = (Arc::clone(&budget), stopping.clone());
            let app = app()
                .into_factory()
                .map_err(|error| error.into().error_response());
            let http = HttpService::build()
                .graceful_shutdown_signal(move || {
                    let stopping = stopping.clone();
                    async move { stopping.notified().await }
                })
                .keep_alive(KEEP_ALIVE_TIMEOUT)
                .client_request_timeout(HEAD_TIMEOUT)
                .on_connect_ext(|stream: &MeteredStream, data| {
                    data.insert(Rc::clone(stream.connection()));
                })
                .h1(map_config(app, |()| AppConfig::default()));
            fn_service(move |stream: TcpStream| {
                let accepted = accept(stream, Arc::clone(&budget));
                async move { accepted }
            })
            .and_then(http)
        })?;
    Ok(server.run())
}

/// Prepares an accepted connection.
fn accept(
    stream: TcpStream,
    budget: Arc<MemoryBudget>,
) -> Result<(MeteredStream, Option<SocketAddr>), actix_http::error::DispatchError> {
    // Otherwise the second part of a response waits until the client acknowledges the first one,
    // and clients delay acknowledgements.
    stream
        .set_nodelay(true)
        .map_err(actix_http::error::DispatchError::Io)?;
    let peer = stream.peer_addr().ok();
    Ok((MeteredStream::new(stream, budget), peer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_worker_gets_an_equal_share_of_the_remaining_descriptors() {
        assert_eq!(connections_per_worker(1024, 16, 1), 720);
        assert_eq!(connections_per_worker(1024, 16, 2), 360);
        assert_eq!(
            connections_per_worker(1_048_576, 16, 8),
            MAX_CONNECTIONS_PER_WORKER
        );
        assert_eq!(
            connections_per_worker(100, 16, 4),
            16,
            "never less than the minimum"
        );
    }
}
