//! The trace ids of operators' requests.

/// Each of these trace ids begins with it. The events of orders have the trace id of the attempt
/// that caused them, so this tells an operator's attempt from one of recovery.
pub const TRACE_ID_PREFIX: &str = "6f70657261746f72";

/// A new value of the header `traceparent`.
pub fn traceparent() -> String {
    let (trace, span) = (rand::random::<u64>(), rand::random_range(1..=u64::MAX));
    format!("00-{TRACE_ID_PREFIX}{trace:016x}-{span:016x}-00")
}
