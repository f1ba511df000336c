//! Marks on a request or a response, by which one part of the middleware informs another one.

/// On a request that is logged at the level debug: a program repeats it every few seconds, or one line
/// was logged for many such requests.
pub struct LogAtDebug;

/// On a request that carries a batch. Its calls are counted, timed and logged instead of it.
pub struct BatchEnvelope;

/// On a response of which no byte is sent: the gremlin closes the connection.
pub struct ConnectionDropped;
