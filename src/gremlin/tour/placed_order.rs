//! An order of the story: the response to it, and its end.

use std::time::{Duration, Instant};

/// The response to `POST /orders`.
#[derive(Debug, Clone)]
pub struct PlacedOrder {
    pub status: u16,
    /// From the request to the response.
    pub duration: Duration,
    pub message: String,
    /// Absent if no order was made.
    pub id: Option<String>,
    pub placed_at: Instant,
}

impl PlacedOrder {
    /// Since the response.
    pub fn age(&self) -> Duration {
        self.placed_at.elapsed().saturating_sub(self.duration)
    }

    pub fn describe(&self) -> String {
        let seconds = self.duration.as_secs_f64();
        format!("{} after {seconds:.2} s: {}", self.status, self.message)
    }
}

/// The numbers of the story's orders in the light's window.
pub struct OwnOrders {
    /// Orders that are inside for certain.
    pub certain: u64,
    /// The certain ones, and those at the edge of the window.
    pub possible: u64,
}

/// How an order ended.
#[derive(Debug, Clone)]
pub struct EndedOrder {
    pub status: String,
    pub reason: String,
    /// False if the order did not end in time.
    pub is_final: bool,
    /// From the request until the order's end was seen.
    pub duration: Duration,
    pub attempt: i32,
}

impl EndedOrder {
    /// Whether it is confirmed, or failed because its payment was declined.
    pub fn is_expected(&self) -> bool {
        self.status == "CONFIRMED" || self.reason == "payment-declined"
    }

    pub fn describe(&self) -> String {
        let seconds = self.duration.as_secs_f64();
        format!(
            "{} ({}) after {seconds:.1} s, by attempt {}",
            self.status, self.reason, self.attempt
        )
    }
}
