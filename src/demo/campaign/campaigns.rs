//! The latest campaign of the demo. At most one runs at a time.

use std::io;
use std::path::PathBuf;

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::child::{self, Ending};
use super::request::CampaignRequest;
use super::view::{CampaignState, CampaignView};

/// Starts and stops campaigns, and shows the latest one. Clones share it.
#[derive(Clone)]
pub struct Campaigns {
    current: watch::Sender<CampaignView>,
    /// The runtime of the demo. Those of a server's workers end with the server.
    runtime: Handle,
    /// The path of this program, read at the start. Once a new build replaces the file, the system
    /// names a deleted file.
    program: PathBuf,
}

impl Campaigns {
    /// The campaigns run in the present runtime.
    ///
    /// # Errors
    /// When the path of this program is unknown.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            current: watch::Sender::new(CampaignView::none()),
            runtime: Handle::current(),
            program: std::env::current_exe()?,
        })
    }

    pub fn current(&self) -> CampaignView {
        self.current.borrow().clone()
    }

    /// Starts a campaign, unless one runs. Returns whether it was started.
    pub fn start(&self, request: &CampaignRequest) -> bool {
        let arguments = child::arguments(request);
        let started = self.current.send_if_modified(|current| {
            let is_free = !current.state.has_process();
            if is_free {
                *current = CampaignView::started(request, &arguments);
            }
            is_free
        });
        if started {
            let campaigns = self.clone();
            self.runtime.spawn(async move {
                let ending = campaigns.run(&arguments).await;
                campaigns.end(ending);
            });
        }
        started
    }

    async fn run(&self, arguments: &[String]) -> io::Result<Ending> {
        let mut changes = self.current.subscribe();
        let stop = async move {
            let is_stopping = |view: &CampaignView| view.state == CampaignState::Stopping;
            // The sender is in `self`, so the channel is open.
            let _ = changes.wait_for(is_stopping).await;
        };
        let show = |progress| {
            let set = |current: &mut CampaignView| current.progress = Some(progress);
            self.current.send_modify(set);
        };
        child::run(&self.program, arguments, stop, show).await
    }

    fn end(&self, ending: io::Result<Ending>) {
        self.current.send_modify(|current| match ending {
            Ok(Ending::Verdict(report)) => {
                current.state = CampaignState::Ended;
                current.report = Some(report);
            }
            Ok(Ending::Stopped) => current.state = CampaignState::Stopped,
            Ok(Ending::Failed(error)) => {
                current.state = CampaignState::Failed;
                current.error = Some(error);
            }
            Err(error) => {
                current.state = CampaignState::Failed;
                current.error = Some(error.to_string());
            }
        });
    }

    /// Asks the campaign to stop, if one runs. Returns whether one does.
    pub fn stop(&self) -> bool {
        self.current.send_if_modified(|current| {
            let has_process = current.state.has_process();
            if has_process {
                current.state = CampaignState::Stopping;
            }
            has_process
        })
    }

    /// Stops the campaign, if one runs, and returns when its process has ended.
    pub async fn stop_and_wait(&self) {
        self.stop();
        let has_ended = |view: &CampaignView| !view.state.has_process();
        // The sender is in `self`, so the channel is open.
        let _ = self.current.subscribe().wait_for(has_ended).await;
    }
}
