//! A connection to another service that corrects two faults of awc.
//!
//! - awc mistakes an interim response (RFC 9110, section 15.2: 100, 103) for the final one, and
//!   returns the connection to its pool. The next request on that connection would then get the
//!   final response of this one. The stream removes interim responses.
//! - awc accepts a body as complete although the connection ended early. The stream reports an
//!   early end as an error.
//!
//! The stream relies on the way in which awc uses a connection: it sends one request at a time, and
//! writes it whole before it reads the response. So the first bytes that are read after a write are
//! the start of a response.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_web::rt::net::{ActixStream, Ready};
use actix_web::web::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A longer head is passed to awc before its end arrives. awc rejects it.
const MAX_HEAD_BYTES: usize = 128 * 1024;
const READ_BYTES: usize = 4096;
/// The bytes with which every head starts.
const VERSION: &[u8] = b"HTTP/1.";

/// A connection without interim responses and without unreported early ends.
#[derive(Debug)]
pub struct ResponseStream<Io> {
    io: Io,
    state: State,
    /// In the state `Head`: the part of the head that has arrived. In `Body`: bytes that awc has
    /// not read yet.
    buffer: BytesMut,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The head of a response is next, or not complete.
    Head,
    /// The head is complete. `has_end`: it says where the body ends.
    Body { has_end: bool },
}

impl<Io> ResponseStream<Io> {
    #[must_use]
    pub fn new(io: Io) -> Self {
        Self {
            io,
            state: State::Head,
            buffer: BytesMut::new(),
        }
    }

    /// Removes interim responses from the buffer, and changes the state to `Body` if the buffer
    /// holds a complete final head.
    fn parse_head(&mut self) {
        while let Some(length) = head_length(&self.buffer) {
            let head = &self.buffer[..length];
            if !is_interim(head) {
                self.state = State::Body {
                    has_end: has_end(head),
                };
                return;
            }
            self.buffer.advance(length);
        }
        let may_be_a_head = self
            .buffer
            .iter()
            .zip(VERSION)
            .all(|(byte, expected)| byte == expected);
        if !may_be_a_head || self.buffer.len() >= MAX_HEAD_BYTES {
            // awc reports the error.
            self.state = State::Body { has_end: false };
        }
    }
}

impl<Io: AsyncRead + Unpin> ResponseStream<Io> {
    fn poll_body(
        &mut self,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.buffer.is_empty() {
            let length = self.buffer.len().min(out.remaining());
            out.put_slice(&self.buffer.split_to(length));
            return Poll::Ready(Ok(()));
        }
        let before = out.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(context, out))?;
        let has_ended = out.filled().len() == before && out.remaining() > 0;
        if has_ended && self.state == (State::Body { has_end: true }) {
            let cause = "the connection ended before the response did";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, cause)));
        }
        Poll::Ready(Ok(()))
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for ResponseStream<Io> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.state == State::Head {
            let mut read = [0; READ_BYTES];
            let mut read = ReadBuf::new(&mut read);
            ready!(Pin::new(&mut this.io).poll_read(context, &mut read))?;
            if read.filled().is_empty() {
                // awc reports the incomplete or missing head.
                this.state = State::Body { has_end: false };
            } else {
                this.buffer.extend_from_slice(read.filled());
                this.parse_head();
            }
        }
        this.poll_body(context, out)
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for ResponseStream<Io> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.state = State::Head;
        Pin::new(&mut this.io).poll_write(context, data)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(context)
    }
}

impl<Io: ActixStream> ActixStream for ResponseStream<Io> {
    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        if self.buffer.is_empty() || self.state == State::Head {
            return self.io.poll_read_ready(context);
        }
        Poll::Ready(Ok(Ready::READABLE))
    }

    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        self.io.poll_write_ready(context)
    }
}

/// Returns the length of the head with which the bytes start, if it is complete. The length
/// includes the empty line after the head. Lines may end in a bare line feed.
fn head_length(bytes: &[u8]) -> Option<usize> {
    let mut line_ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    line_ends.find_map(|(end, _)| match bytes[end + 1..] {
        [b'\n', ..] => Some(end + 2),
        [b'\r', b'\n', ..] => Some(end + 3),
        _ => None,
    })
}

/// Whether the status is below 200. 101 is final: the connection is no longer HTTP after it.
fn is_interim(head: &[u8]) -> bool {
    head.starts_with(VERSION) && head.get(8..10) == Some(b" 1") && head.get(9..12) != Some(b"101")
}

/// Whether the head says where the body ends. Otherwise the body ends with the connection.
fn has_end(head: &[u8]) -> bool {
    let names = head
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.split(|byte| *byte == b':').next());
    let mut names = names.map(<[u8]>::trim_ascii);
    names.any(|name| {
        name.eq_ignore_ascii_case(b"content-length")
            || name.eq_ignore_ascii_case(b"transfer-encoding")
    })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;

    /// Returns a connection on which a request was sent, and the end of the service.
    async fn requested() -> (ResponseStream<DuplexStream>, DuplexStream) {
        let (near, mut far) = tokio::io::duplex(1024 * 1024);
        let mut stream = ResponseStream::new(near);
        request(&mut stream, &mut far).await;
        (stream, far)
    }

    async fn request(stream: &mut ResponseStream<DuplexStream>, far: &mut DuplexStream) {
        stream.write_all(b"GET").await.unwrap();
        let mut sent = [0; 3];
        far.read_exact(&mut sent).await.unwrap();
    }

    /// Reads a response that arrives in pieces of `size` bytes. Returns its bytes or the error.
    async fn read_in_pieces(response: &[u8], size: usize) -> (Vec<u8>, io::Result<usize>) {
        let (mut stream, mut far) = requested().await;
        for piece in response.chunks(size) {
            far.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        drop(far);
        let mut read = Vec::new();
        let outcome = stream.read_to_end(&mut read).await;
        (read, outcome)
    }

    const FINAL: &[u8] = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}";

    #[tokio::test]
    async fn interim_responses_are_removed_in_pieces_of_any_size() {
        let interim = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
        let response = [b"HTTP/1.1 100 Continue\r\n\r\n", &interim[..], FINAL].concat();
        for size in [1, 3, 40, response.len()] {
            let (read, _) = read_in_pieces(&response, size).await;
            assert_eq!(read, FINAL, "pieces of {size}");
        }
    }

    #[tokio::test]
    async fn an_early_end_is_an_error_only_if_the_head_says_where_the_body_ends() {
        for cut_off in [
            &b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n{}"[..],
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
        ] {
            let (read, outcome) = read_in_pieces(cut_off, 7).await;
            assert_eq!(
                (read.as_slice(), outcome.unwrap_err().kind()),
                (cut_off, io::ErrorKind::UnexpectedEof)
            );
        }
        for whole in [
            &b"HTTP/1.0 200 OK\r\n\r\n{}"[..],
            b"HTTP/1.1 2",
            b"not HTTP",
            b"",
        ] {
            let (read, outcome) = read_in_pieces(whole, 7).await;
            assert_eq!((read.as_slice(), outcome.unwrap()), (whole, whole.len()));
        }
    }

    #[tokio::test]
    async fn the_next_request_on_a_connection_gets_its_own_response() {
        let (mut stream, mut far) = requested().await;
        for _ in 0..2 {
            far.write_all(b"HTTP/1.1 102 Processing\r\n\r\n")
                .await
                .unwrap();
            far.write_all(FINAL).await.unwrap();
            let mut read = vec![0; FINAL.len()];
            stream.read_exact(&mut read).await.unwrap();
            assert_eq!(read, FINAL);
            request(&mut stream, &mut far).await;
        }
    }

    #[tokio::test]
    async fn an_oversized_head_is_passed_on_before_its_end() {
        let endless = [VERSION, &b"x".repeat(MAX_HEAD_BYTES)].concat();
        let (mut stream, mut far) = requested().await;
        far.write_all(&endless).await.unwrap();
        let mut read = vec![0; endless.len()];
        stream.read_exact(&mut read).await.unwrap();
        assert_eq!(read, endless);
    }

    #[tokio::test]
    async fn bytes_that_are_not_http_are_passed_on_at_once() {
        let (mut stream, mut far) = requested().await;
        far.write_all(b"SSH-2.0-x\r\n").await.unwrap();
        let mut read = [0; 11];
        stream.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"SSH-2.0-x\r\n");
    }

    #[tokio::test]
    async fn lines_of_a_head_may_end_in_a_bare_line_feed() {
        let lines = b"HTTP/1.1 100 Continue\n\nHTTP/1.1 204 No Content\n\n";
        assert_eq!(
            read_in_pieces(lines, 5).await.0,
            b"HTTP/1.1 204 No Content\n\n"
        );
    }
}
