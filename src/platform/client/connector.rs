//! Connects to the first address of a host name that responds (RFC 8305, "happy eyeballs").
//!
//! awc spends the whole timeout on the first address of a name. If that address does not respond,
//! such as an IPv6 address without a route or the address of a removed pod, it never tries the
//! others.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use actix_tls::connect::{ConnectError, ConnectInfo, Connection};
use actix_web::dev::{Service, fn_service};
use actix_web::http::Uri;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::{TcpStream, lookup_host};

use crate::platform::client::response_stream::ResponseStream;

/// After this time without a response, the next address is tried as well. It is the minimum that
/// the RFC allows, because the deadline of a call may be short.
const ATTEMPT_DELAY: Duration = Duration::from_millis(100);

/// Returns the connector that every [`Client`](super::Client) uses. It tries all addresses of a
/// name, and wraps the connection in a [`ResponseStream`].
#[must_use]
pub fn connector() -> awc::Connector<
    impl Service<
        ConnectInfo<Uri>,
        Response = Connection<Uri, ResponseStream<TcpStream>>,
        Error = ConnectError,
    > + Clone
    + 'static,
> {
    awc::Connector::new().connector(fn_service(connect))
}

async fn connect(
    info: ConnectInfo<Uri>,
) -> Result<Connection<Uri, ResponseStream<TcpStream>>, ConnectError> {
    let host = format!("{}:{}", info.hostname(), info.port());
    let addresses: Vec<_> = lookup_host(host)
        .await
        .map_err(|error| ConnectError::Resolver(error.into()))?
        .collect();
    if addresses.is_empty() {
        return Err(ConnectError::NoRecords);
    }
    let stream = connect_to_any(&addresses).await.map_err(ConnectError::Io)?;
    Ok(Connection::new(
        info.request().clone(),
        ResponseStream::new(stream),
    ))
}

/// Tries the addresses in order. The next attempt starts once the previous one fails, or after
/// [`ATTEMPT_DELAY`] without a response.
async fn connect_to_any(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut remaining = addresses.iter();
    let mut attempts = FuturesUnordered::new();
    let mut last_error = io::Error::from(io::ErrorKind::NotFound);
    loop {
        let is_last = remaining.len() <= 1;
        attempts.extend(remaining.next().map(|address| TcpStream::connect(*address)));
        let next_result = attempts.next();
        let result = if is_last {
            next_result.await
        } else {
            match tokio::time::timeout(ATTEMPT_DELAY, next_result).await {
                Ok(result) => result,
                Err(_) => continue,
            }
        };
        match result {
            Some(Ok(stream)) => return Ok(stream),
            Some(Err(error)) => last_error = error,
            None => return Err(last_error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::{TcpListener, TcpSocket};
    use tokio::time::timeout;

    use super::*;

    /// An address that does not respond: its accept queue is full, so Linux drops connection
    /// requests.
    struct SilentAddress {
        address: SocketAddr,
        _listener: TcpListener,
        _queue: Vec<TcpStream>,
    }

    impl SilentAddress {
        async fn start() -> Self {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
            let listener = socket.listen(1).unwrap();
            let address = listener.local_addr().unwrap();
            let mut queue = Vec::new();
            while let Ok(stream) =
                timeout(Duration::from_millis(200), TcpStream::connect(address)).await
            {
                queue.push(stream.unwrap());
            }
            Self {
                address,
                _listener: listener,
                _queue: queue,
            }
        }
    }

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// An address without a listener.
    async fn closed_address() -> SocketAddr {
        listener().await.1
    }

    #[tokio::test]
    async fn connects_although_other_addresses_are_silent_or_closed() {
        let (silent, closed_address) = (SilentAddress::start().await, closed_address().await);
        let (_listener, live) = listener().await;
        for addresses in [
            &[live][..],
            &[live, silent.address],
            &[silent.address, live],
            &[closed_address, live],
            &[
                silent.address,
                silent.address,
                closed_address,
                silent.address,
                live,
            ],
        ] {
            let stream = timeout(Duration::from_secs(20), connect_to_any(addresses))
                .await
                .unwrap()
                .unwrap();
            assert_eq!(stream.peer_addr().unwrap(), live, "{addresses:?}");
        }
    }

    #[tokio::test]
    async fn fails_with_the_last_error_when_no_address_accepts() {
        let error = connect_to_any(&[closed_address().await, closed_address().await])
            .await
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let none = connect_to_any(&[]).await.unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::NotFound);
    }
}
