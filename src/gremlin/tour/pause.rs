//! Waits for Enter between the steps.

use std::io::{self, BufRead, IsTerminal};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::platform::output;

/// A thread reads the terminal, because a read cannot be cancelled when the tour is stopped.
pub struct Pause {
    lines: UnboundedReceiver<()>,
}

impl Pause {
    /// Whether there is a viewer at a terminal, who sees the prompt and can press Enter.
    #[must_use]
    pub fn is_possible() -> bool {
        io::stdin().is_terminal() && io::stdout().is_terminal()
    }

    #[must_use]
    pub fn start() -> Self {
        let (sender, lines) = unbounded_channel();
        std::thread::spawn(move || {
            for line in io::stdin().lock().lines() {
                if line.is_err() || sender.send(()).is_err() {
                    break;
                }
            }
        });
        Self { lines }
    }

    /// Waits until Enter is pressed after the prompt. Does not wait if the input has ended.
    pub async fn wait(&mut self) {
        while self.lines.try_recv().is_ok() {}
        output::print("\nPress Enter for the next step. ");
        self.lines.recv().await;
    }
}
