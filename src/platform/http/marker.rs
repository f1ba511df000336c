//! Marks on a request or response, by which one layer of the middleware tells another what it did.

/// On a request whose response gets no log line: it was logged once for many.
pub struct SkipLog;

/// On a request that only carried a batch of calls: each call is counted, timed and logged itself.
pub struct BatchEnvelope;

/// On a response of which no byte is sent: the gremlin closes the connection.
pub struct ConnectionDropped;
