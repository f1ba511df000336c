//! A platform of the tour's own, where none runs: `valerix demo` on free ports and a directory that
//! goes again.

use std::net::TcpListener;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};

use super::TourError;
use super::client::Stage;
use crate::platform::client::BaseUrl;
use crate::testbed::scratch_dir::ScratchDir;

const READY_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
const LINES_KEPT: usize = 20;

pub struct OwnPlatform {
    pub urls: [BaseUrl; 3],
    child: Child,
    data: ScratchDir,
    lines: Arc<Mutex<Vec<String>>>,
}

impl OwnPlatform {
    /// `wanted` is where one was expected; elsewhere than on this machine none is started in its
    /// stead.
    pub fn launch(wanted: &BaseUrl) -> Result<Self, TourError> {
        if !wanted.is_loopback() {
            return Err(TourError::NoPlatform(wanted.clone()));
        }
        // Held together, so that they differ; free again when the demo binds them.
        let held = (0..3)
            .map(|_| TcpListener::bind("127.0.0.1:0"))
            .collect::<Result<Vec<_>, _>>()?;
        let ports = held
            .iter()
            .map(|held| Ok(held.local_addr()?.port()))
            .collect::<std::io::Result<Vec<_>>>()?;
        drop(held);
        let url = |port: u16| {
            format!("http://127.0.0.1:{port}")
                .parse()
                .map_err(std::io::Error::other)
        };
        let urls = [url(ports[0])?, url(ports[1])?, url(ports[2])?];
        let data = ScratchDir::create("tour")?;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("demo")
            .arg("--data-dir")
            .arg(data.path())
            .args(["--host", "127.0.0.1"]);
        for (flag, port) in ["--order-port", "--inventory-port", "--payment-port"]
            .into_iter()
            .zip(&ports)
        {
            command.arg(flag).arg(port.to_string());
        }
        for name in [
            "DATABASE_URL",
            "DATABASE_URL_FILE",
            "GREMLIN_TOKEN",
            "GREMLIN_TOKEN_FILE",
        ] {
            command.env_remove(name);
        }
        command.env_remove("GREMLIN_ENABLED");
        // A group of its own: Ctrl-C ends the tour, which then ends the platform in order. If the
        // tour dies, the closed pipe ends the platform.
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = command.spawn()?;
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        child
            .stdout
            .take()
            .map(|stdout| tokio::spawn(collect(stdout, Arc::clone(&lines))));
        child
            .stderr
            .take()
            .map(|stderr| tokio::spawn(collect(stderr, Arc::clone(&lines))));
        Ok(Self {
            urls,
            child,
            data,
            lines,
        })
    }

    /// Waits until all three services can serve.
    pub async fn ready(&mut self) -> Result<(), TourError> {
        let stage = Stage::new(&self.urls, None);
        let started = Instant::now();
        while started.elapsed() < READY_LIMIT && self.child.try_wait()?.is_none() {
            if stage.is_up().await {
                return stage.all_healthy().await;
            }
            tokio::time::sleep(POLL).await;
        }
        let lines = self
            .lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .join("\n");
        Err(TourError::NotReady(lines))
    }

    pub async fn stop(mut self) -> Result<(), TourError> {
        if let Some(pid) = self.child.id().and_then(|id| i32::try_from(id).ok()) {
            // It can only be gone already.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        self.child.wait().await?;
        drop(self.data);
        Ok(())
    }
}

async fn collect(output: impl AsyncRead + Unpin, lines: Arc<Mutex<Vec<String>>>) {
    let mut reader = BufReader::new(output).lines();
    while let Ok(Some(line)) = reader.next_line().await {
        let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(line);
        if lines.len() > LINES_KEPT {
            lines.remove(0);
        }
    }
}
