//! A service that fails in a chosen way.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing listens on the port.
    Refuse,
    /// Accepts the connection, reads the request and never answers.
    Hang,
    /// Resets the connection after the request.
    Reset,
    /// Answers with bytes that are not HTTP.
    Garbage,
    /// Answers 200 with a JSON body that violates the contract.
    WrongJson,
    /// Sends half of a response, and keeps the connection open.
    Half,
    /// Sends half of a response, and closes the connection.
    CutOff,
    /// Answers 500 with plain text.
    Error,
    /// Answers 404, as another service at this address would.
    NotFound,
}

pub const ALL: [Fault; 9] = [
    Fault::Refuse,
    Fault::Hang,
    Fault::Reset,
    Fault::Garbage,
    Fault::WrongJson,
    Fault::Half,
    Fault::CutOff,
    Fault::Error,
    Fault::NotFound,
];

impl Fault {
    /// Whether the caller notices the fault only by a timeout.
    pub fn needs_timeout(self) -> bool {
        matches!(self, Self::Hang | Self::Half)
    }
}

/// A running faulty service, which ends with the test's runtime.
pub struct FaultyService {
    pub url: String,
}

impl FaultyService {
    pub async fn start(fault: Fault) -> Self {
        if fault == Fault::Refuse {
            return Self {
                url: format!("http://127.0.0.1:{}", super::free_port()),
            };
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(respond(stream, fault));
            }
        });
        Self { url }
    }
}

async fn respond(mut stream: TcpStream, fault: Fault) {
    let mut buffer = [0; 4096];
    if !matches!(stream.read(&mut buffer).await, Ok(1..)) {
        return;
    }
    let response: &[u8] = match fault {
        Fault::Refuse | Fault::Hang => b"",
        Fault::Reset => {
            // With a zero linger time the kernel resets the connection instead of closing it in
            // order.
            stream.set_zero_linger().unwrap();
            return;
        }
        Fault::Garbage => b"\x00\x01 not HTTP \xff\r\n\r\n",
        Fault::WrongJson => b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{\"a\": [1]}\n",
        Fault::Half | Fault::CutOff => {
            b"HTTP/1.1 200 OK\r\ncontent-length: 200\r\n\r\n{\"order_id\":"
        }
        Fault::Error => b"HTTP/1.1 500 Oh\r\ncontent-length: 4\r\n\r\nboom",
        Fault::NotFound => {
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 20\r\n\r\n{\"code\":\"not-found\"}"
        }
    };
    let _ = stream.write_all(response).await;
    if fault.needs_timeout() {
        let _ = stream.read(&mut buffer).await;
    }
}
