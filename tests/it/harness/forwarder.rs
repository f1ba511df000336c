//! A minimal load balancer in front of a service whose processes are replaced.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

/// Forwards each new connection to the current port. Open connections stay where they are. It
/// ends with the test's runtime.
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
                    // If nothing listens there, the client's connection is closed.
                    if let Ok(mut service) = TcpStream::connect(("127.0.0.1", port)).await {
                        let _ = copy_bidirectional(&mut client, &mut service).await;
                    }
                });
            }
        });
        Self { url, port }
    }

    /// Forwards new connections to another port from now on.
    pub fn forward_to(&self, port: u16) {
        self.port.store(port, Ordering::Relaxed);
    }
}
