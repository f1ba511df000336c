//! Starts a service again whenever it ends.

use std::io;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::process::{Output, Process, ProcessSpec};

/// Before the first restart; the pause doubles while the service keeps ending early.
const MIN_RESTART_PAUSE: Duration = Duration::from_millis(500);
const MAX_RESTART_PAUSE: Duration = Duration::from_secs(10);
/// After a service has run for this long, the next pause is the shortest again.
const MIN_HEALTHY_UPTIME: Duration = Duration::from_secs(10);
/// Exit code of a service that rejects its configuration.
const CONFIGURATION_REJECTED: i32 = 2;

/// Keeps a service running until `stop` is true. A service that ends is started again after a pause
/// of 500 ms to 10 s. Each start and each end is reported among the lines of its output.
///
/// # Errors
/// When the program cannot be started, or rejects its configuration (exit code 2).
pub async fn keep_running(spec: ProcessSpec, mut stop: watch::Receiver<bool>) -> io::Result<()> {
    let report = |text: &str| {
        if let Output::Lines(sink) = &spec.output {
            sink(text);
        }
    };
    let mut pause = MIN_RESTART_PAUSE;
    loop {
        let mut process = Process::start(&spec)?;
        let started = Instant::now();
        report(&format!("started as process {}", process.pid()));
        let status = tokio::select! {
            status = process.wait() => status?,
            () = stop_requested(&mut stop) => return process.stop().await.map(drop),
        };
        if status.code() == Some(CONFIGURATION_REJECTED) {
            return Err(io::Error::other("it rejected its configuration"));
        }
        if started.elapsed() >= MIN_HEALTHY_UPTIME {
            pause = MIN_RESTART_PAUSE;
        }
        report(&format!(
            "ended ({status}); starting again in {} ms",
            pause.as_millis()
        ));
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(MAX_RESTART_PAUSE),
            () = stop_requested(&mut stop) => return Ok(()),
        }
    }
}

async fn stop_requested(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a request to stop too.
    let _ = stop.wait_for(|stop| *stop).await;
}
