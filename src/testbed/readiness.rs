//! Waits until a started service can serve.

use std::io;
use std::time::{Duration, Instant};

use crate::platform::client::{BaseUrl, Client};
use crate::platform::deadline::Deadline;

/// Limits a single request, so that a service that hangs is asked again.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// The service answered `/readyz` with 2xx.
    Ready,
    /// The service's process ended.
    Ended,
    TimedOut,
}

/// Asks a service's `/readyz` until the service is ready, its process has ended, or the timeout is
/// over. Needs a `LocalSet`, because HTTP connections belong to a thread.
///
/// # Errors
/// The error of `has_ended`.
pub async fn wait_until_ready(
    url: &BaseUrl,
    timeout: Duration,
    poll_interval: Duration,
    mut has_ended: impl FnMut() -> io::Result<bool>,
) -> io::Result<Readiness> {
    let started = Instant::now();
    let client = Client::new(url.clone());
    loop {
        let answer = client
            .get("/readyz", Deadline::after(REQUEST_TIMEOUT))
            .await;
        if answer.is_ok_and(|answer| answer.status.is_success()) {
            return Ok(Readiness::Ready);
        }
        if has_ended()? {
            return Ok(Readiness::Ended);
        }
        if started.elapsed() > timeout {
            return Ok(Readiness::TimedOut);
        }
        tokio::time::sleep(poll_interval).await;
    }
}
