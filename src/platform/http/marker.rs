//! Marks on a request or a response, by which one part of the middleware informs another one.

/// On a request whose response gets no log line, because one line was logged for many requests.
pub struct SkipLog;

/// On a request that carries a batch. Its calls are counted, timed and logged instead of it.
pub struct BatchEnvelope;

/// On a response of which no byte is sent: the gremlin closes the connection.
pub struct ConnectionDropped;
