//! A service that misbehaves in a way of one's choice.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Nobody listens.
    Refuse,
    /// Takes the connection and the request, and says nothing.
    Hang,
    /// Ends the connection with a reset once the request has come.
    Reset,
    /// Answers something that is not HTTP.
    Garbage,
    /// 200 with a body that is not the contract's.
    WrongJson,
    /// Half of an answer, then nothing.
    Half,
    /// Half of an answer, then the end.
    CutOff,
    /// 500 with a text.
    Error,
    /// A correct answer of another service: 404 where the route should be.
    NotFound,
}

pub const ALL: [Behaviour; 9] = [
    Behaviour::Refuse,
    Behaviour::Hang,
    Behaviour::Reset,
    Behaviour::Garbage,
    Behaviour::WrongJson,
    Behaviour::Half,
    Behaviour::CutOff,
    Behaviour::Error,
    Behaviour::NotFound,
];

impl Behaviour {
    /// Whether the caller can only find out by waiting.
    pub fn is_silent(self) -> bool {
        matches!(self, Self::Hang | Self::Half)
    }
}

/// The misbehaving service; ends with the test's runtime.
pub struct Fake {
    pub url: String,
}

impl Fake {
    pub async fn start(behaviour: Behaviour) -> Self {
        if behaviour == Behaviour::Refuse {
            return Self {
                url: format!("http://127.0.0.1:{}", super::free_port()),
            };
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(misbehave(stream, behaviour));
            }
        });
        Self { url }
    }
}

async fn misbehave(mut stream: TcpStream, behaviour: Behaviour) {
    let mut buffer = [0; 4096];
    if !matches!(stream.read(&mut buffer).await, Ok(1..)) {
        return;
    }
    let answer: &[u8] = match behaviour {
        Behaviour::Refuse | Behaviour::Hang => b"",
        Behaviour::Reset => {
            // With unread bytes or a zero linger the kernel sends a reset instead of an orderly
            // end.
            stream.set_zero_linger().unwrap();
            return;
        }
        Behaviour::Garbage => b"\x00\x01 what is this \xff\r\n\r\n",
        Behaviour::WrongJson => b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{\"a\": [1]}\n",
        Behaviour::Half | Behaviour::CutOff => {
            b"HTTP/1.1 200 OK\r\ncontent-length: 200\r\n\r\n{\"order_id\":"
        }
        Behaviour::Error => b"HTTP/1.1 500 Oh\r\ncontent-length: 4\r\n\r\nboom",
        Behaviour::NotFound => {
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 20\r\n\r\n{\"code\":\"not-found\"}"
        }
    };
    let _ = stream.write_all(answer).await;
    if behaviour.is_silent() {
        let _ = stream.read(&mut buffer).await;
    }
}
