//! What stands in front of a service whose processes come and go: a load balancer, as simple as can
//! be.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

/// Passes each new connection on to the port of the moment; one that is open stays where it is.
/// Ends with the test's runtime.
pub struct Forwarder {
    pub url: String,
    port: Arc<AtomicU16>,
}

impl Forwarder {
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let port = Arc::new(AtomicU16::new(port));
        let target = Arc::clone(&port);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let port = target.load(Ordering::Relaxed);
                tokio::spawn(async move {
                    // Where nobody listens the client's connection just ends.
                    if let Ok(mut service) = TcpStream::connect(("127.0.0.1", port)).await {
                        let _ = copy_bidirectional(&mut client, &mut service).await;
                    }
                });
            }
        });
        Self { url, port }
    }

    /// From now on, new connections go there.
    pub fn turn_to(&self, port: u16) {
        self.port.store(port, Ordering::Relaxed);
    }
}
