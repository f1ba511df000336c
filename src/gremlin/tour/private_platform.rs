//! A platform for the tour alone: `valerix demo` on free ports and in a temporary directory.

use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};

use super::client::PlatformClient;
use super::config::Config;
use super::error::TourError;
use crate::platform::client::BaseUrl;
use crate::testbed::addresses::Addresses;
use crate::testbed::readiness::{Readiness, wait_until_ready};
use crate::testbed::recent_lines::RecentLines;
use crate::testbed::scratch_dir::ScratchDir;
use crate::testbed::service_kind::ServiceKind;

const READY_TIMEOUT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Variables that would give the demo another database, or a gremlin that the tour cannot use.
const REMOVED_VARIABLES: [&str; 5] = [
    "DATABASE_URL",
    "DATABASE_URL_FILE",
    "GREMLIN_TOKEN",
    "GREMLIN_TOKEN_FILE",
    "GREMLIN_ENABLED",
];

pub struct PrivatePlatform {
    addresses: Addresses,
    demo: Child,
    scratch_dir: ScratchDir,
    recent_lines: RecentLines,
}

impl PrivatePlatform {
    /// Starts the demo. `expected` is where a platform was expected: for another machine's address
    /// no platform is started.
    pub fn start(expected: &BaseUrl) -> Result<Self, TourError> {
        if !expected.is_loopback() {
            return Err(TourError::NoPlatform(expected.clone()));
        }
        let addresses = Addresses::on_free_ports()?;
        let scratch_dir = ScratchDir::create("tour")?;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("demo")
            .arg("--data-dir")
            .arg(scratch_dir.path());
        command.args(["--host", &addresses.host().to_string()]);
        for service in ServiceKind::ALL {
            command.arg(format!("--{service}-port"));
            command.arg(addresses.port(service).to_string());
        }
        for name in REMOVED_VARIABLES {
            command.env_remove(name);
        }
        // In a process group of its own the demo does not get the terminal's Ctrl-C. The tour gets
        // it, and stops the demo in order. If the tour is killed, the demo's output pipe closes,
        // which stops the demo.
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut demo = command.spawn()?;
        let recent_lines = RecentLines::default();
        if let Some(stdout) = demo.stdout.take() {
            tokio::spawn(collect(stdout, recent_lines.clone()));
        }
        if let Some(stderr) = demo.stderr.take() {
            tokio::spawn(collect(stderr, recent_lines.clone()));
        }
        Ok(Self {
            addresses,
            demo,
            scratch_dir,
            recent_lines,
        })
    }

    pub fn order_url(&self) -> BaseUrl {
        self.addresses.url(ServiceKind::Order)
    }

    pub fn client(&self) -> PlatformClient {
        PlatformClient::new(&Config {
            urls: ServiceKind::ALL.map(|service| self.addresses.url(service)),
            token: None,
            json: false,
            pause: false,
        })
    }

    /// Waits until all services are healthy.
    pub async fn wait_until_ready(&mut self) -> Result<(), TourError> {
        let url = self.addresses.url(ServiceKind::Order);
        let has_ended = || Ok(self.demo.try_wait()?.is_some());
        match wait_until_ready(&url, READY_TIMEOUT, POLL_INTERVAL, has_ended).await? {
            Readiness::Ready => self.client().wait_until_healthy().await,
            Readiness::Ended | Readiness::TimedOut => {
                Err(TourError::NotReady(self.recent_lines.text()))
            }
        }
    }

    pub async fn stop(mut self) -> Result<(), TourError> {
        if let Some(pid) = self.demo.id().and_then(|id| i32::try_from(id).ok()) {
            // Fails only when the demo has just ended.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        self.demo.wait().await?;
        drop(self.scratch_dir);
        Ok(())
    }
}

async fn collect(output: impl AsyncRead + Unpin, recent_lines: RecentLines) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        recent_lines.push(&line);
    }
}
