//! Starts a service again whenever it ends, and shares its state.

use std::io;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::process::{Output, Process, ProcessSpec};

/// The shortest pause after a second early end in a row, and after each later one.
const MIN_REPEATED_PAUSE: Duration = Duration::from_millis(500);
const MAX_REPEATED_PAUSE: Duration = Duration::from_secs(10);
/// After a service has run for this long, the next pause is the first one again.
const MIN_HEALTHY_UPTIME: Duration = Duration::from_secs(10);
/// Exit code of a service that rejects its configuration.
const CONFIGURATION_REJECTED: i32 = 2;

/// The state of a supervised service.
#[derive(Debug, Clone, Copy)]
pub struct ServiceState {
    pub process: ProcessState,
    /// How often the service was started again.
    pub restarts: u32,
}

#[derive(Debug, Clone, Copy)]
pub enum ProcessState {
    NotStarted,
    Running {
        pid: i32,
        started: Instant,
    },
    Ended {
        pid: i32,
        started: Instant,
        restarts_at: Instant,
    },
}

/// A request to kill the service. The answer says whether it was running.
type KillRequest = oneshot::Sender<bool>;

/// Keeps one service running.
pub struct Supervisor {
    first_pause: Duration,
    state: watch::Sender<ServiceState>,
    kill_requests: mpsc::Receiver<KillRequest>,
}

/// Shows the state of a supervised service, and kills it. Clones share the supervisor.
#[derive(Clone)]
pub struct SupervisorHandle {
    state: watch::Receiver<ServiceState>,
    kill_requests: mpsc::Sender<KillRequest>,
}

impl SupervisorHandle {
    #[must_use]
    pub fn state(&self) -> ServiceState {
        *self.state.borrow()
    }

    /// Kills the service with SIGKILL, and waits for its end. Returns false if it was not running.
    pub async fn kill(&self) -> bool {
        let (answer, was_running) = oneshot::channel();
        // Either fails only when the supervisor has ended, and with it the service.
        let _ = self.kill_requests.send(answer).await;
        was_running.await.unwrap_or(false)
    }
}

impl Supervisor {
    /// `first_pause` is the time between an end and the next start. It doubles while the service
    /// keeps ending early.
    #[must_use]
    pub fn new(first_pause: Duration) -> (Self, SupervisorHandle) {
        let (state, states) = watch::channel(ServiceState {
            process: ProcessState::NotStarted,
            restarts: 0,
        });
        let (sender, kill_requests) = mpsc::channel(1);
        let supervisor = Self {
            first_pause,
            state,
            kill_requests,
        };
        let handle = SupervisorHandle {
            state: states,
            kill_requests: sender,
        };
        (supervisor, handle)
    }

    /// Keeps the service running until `stop` is true. Each start and each end is reported among
    /// the lines of its output.
    ///
    /// # Errors
    /// When the program cannot be started, or rejects its configuration (exit code 2).
    pub async fn keep_running(
        mut self,
        spec: ProcessSpec,
        mut stop: watch::Receiver<bool>,
    ) -> io::Result<()> {
        let report = |text: &str| {
            if let Output::Lines(sink) = &spec.output {
                sink(text);
            }
        };
        let mut pause = self.first_pause;
        loop {
            let mut process = Process::start(&spec)?;
            let (pid, started) = (process.pid(), Instant::now());
            self.set_process(ProcessState::Running { pid, started });
            report(&format!("started as process {pid}"));
            let (status, kill_request) = tokio::select! {
                status = process.wait() => (status?, None),
                Some(request) = self.kill_requests.recv() => (process.kill().await?, Some(request)),
                () = stop_requested(&mut stop) => return process.stop().await.map(drop),
            };
            if status.code() == Some(CONFIGURATION_REJECTED) {
                return Err(io::Error::other("it rejected its configuration"));
            }
            // A service that was killed on request has not failed.
            if started.elapsed() >= MIN_HEALTHY_UPTIME || kill_request.is_some() {
                pause = self.first_pause;
            }
            let restarts_at = Instant::now() + pause;
            self.set_process(ProcessState::Ended {
                pid,
                started,
                restarts_at,
            });
            if let Some(request) = kill_request {
                let _ = request.send(true);
            }
            report(&format!(
                "ended ({status}); starting again in {} ms",
                pause.as_millis()
            ));
            tokio::select! {
                () = self.reject_kills_until(restarts_at) => pause = self.next_pause(pause),
                () = stop_requested(&mut stop) => return Ok(()),
            }
            self.state.send_modify(|state| state.restarts += 1);
        }
    }

    fn set_process(&self, process: ProcessState) {
        self.state.send_modify(|state| state.process = process);
    }

    fn next_pause(&self, pause: Duration) -> Duration {
        let longest = MAX_REPEATED_PAUSE.max(self.first_pause);
        (pause * 2).clamp(MIN_REPEATED_PAUSE, longest)
    }

    /// Answers the requests to kill a service that does not run.
    async fn reject_kills_until(&mut self, end: Instant) {
        let rejects = async {
            while let Some(request) = self.kill_requests.recv().await {
                let _ = request.send(false);
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = tokio::time::sleep_until(end) => {}
            () = rejects => {}
        }
    }
}

async fn stop_requested(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a request to stop too.
    let _ = stop.wait_for(|stop| *stop).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pauses in milliseconds of a service that always ends early.
    fn pauses(first: u64) -> [u128; 4] {
        let (supervisor, _) = Supervisor::new(Duration::from_millis(first));
        let mut pause = Duration::from_millis(first);
        [(); 4].map(|()| {
            let current = pause;
            pause = supervisor.next_pause(pause);
            current.as_millis()
        })
    }

    #[test]
    fn the_pause_doubles_from_the_first_one_to_10_seconds() {
        assert_eq!(pauses(3000), [3000, 6000, 10_000, 10_000]);
        assert_eq!(pauses(500), [500, 1000, 2000, 4000]);
    }

    #[test]
    fn only_the_first_pause_can_be_shorter_than_half_a_second_or_longer_than_10_seconds() {
        assert_eq!(pauses(0), [0, 500, 1000, 2000]);
        assert_eq!(pauses(20_000), [20_000; 4]);
    }
}
