//! The one way a process is told to stop: SIGTERM, Ctrl-C, or its supervisor going away.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};

/// A wish to stop that any task can await; clones share it.
#[derive(Clone)]
pub struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    /// Listens for the signals; under a supervisor also for the end of standard input, which comes
    /// when the supervisor dies, however it dies.
    ///
    /// # Errors
    /// When a signal handler cannot be installed.
    pub fn listen(supervised: bool) -> std::io::Result<Self> {
        let (sender, receiver) = watch::channel(false);
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => tracing::info!("stopping: SIGTERM"),
                _ = interrupt.recv() => tracing::info!("stopping: interrupted"),
                () = end_of_input(), if supervised => tracing::info!("stopping: the supervisor is gone"),
            }
            sender.send_replace(true);
            // The sender stays alive, so that a receiver can tell "stop" from "nobody can say stop any more".
            sender.closed().await;
        });
        Ok(Self(receiver))
    }

    /// Returns when the process should stop.
    pub async fn requested(&self) {
        let mut receiver = self.0.clone();
        let _ = receiver.wait_for(|stop| *stop).await;
    }
}

/// On a thread of its own: a pending read of tokio's standard input would keep the runtime from ending.
async fn end_of_input() {
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = sender.send(());
    });
    let _ = receiver.await;
}
