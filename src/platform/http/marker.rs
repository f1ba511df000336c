//! Marks on a request or a response, by which one part of the middleware informs another one.

use actix_web::{HttpMessage, HttpRequest};

/// On a request that is logged at the level debug: a page or a program repeats it every few
/// seconds, a page loads it as one of its files, or one line was logged for many such requests.
pub struct LogAtDebug;

impl LogAtDebug {
    /// Marks a request.
    pub fn mark(request: &HttpRequest) {
        request.extensions_mut().insert(Self);
    }
}

/// On a request that carries a batch. Its calls are counted, timed and logged instead of it.
pub struct BatchEnvelope;

/// On a response of which no byte is sent: the gremlin closes the connection.
pub struct ConnectionDropped;
