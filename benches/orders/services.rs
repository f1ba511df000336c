//! The three services as processes of their own, as a container runs them: the release program,
//! JSON logs to a file.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use valerix::platform::client::Client;
use valerix::platform::db::DatabaseUrl;
use valerix::platform::deadline::Deadline;
use valerix::testbed::supervisor::{Process, Spec};

use crate::Fallible;
use crate::stage::Stage;

pub const ROLES: [&str; 3] = ["order", "inventory", "payment"];
const READY_LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(1);
/// The process becomes the service: nothing stands between it and its log file.
const INTO_LOG: &str = "exec \"$0\" \"$@\" >>\"$BENCH_LOG\" 2>&1";

pub struct Services {
    pub url: DatabaseUrl,
    roles: Vec<Role>,
}

struct Role {
    name: &'static str,
    address: String,
    log: PathBuf,
    spec: Spec,
    process: Process,
}

impl Services {
    pub async fn start(stage: &Stage<'_>, url: DatabaseUrl) -> Fallible<Self> {
        // Held together, so that they differ; free again when the services start.
        let listeners = ROLES
            .iter()
            .map(|_| TcpListener::bind("127.0.0.1:0"))
            .collect::<Result<Vec<_>, _>>()?;
        let ports = listeners
            .iter()
            .map(|listener| Ok(listener.local_addr()?.port()));
        let ports = ports.collect::<std::io::Result<Vec<_>>>()?;
        drop(listeners);
        let mut roles = Vec::new();
        for (name, port) in ROLES.into_iter().zip(&ports) {
            let log = stage.home().join(format!("{name}.log"));
            let mut environment = environment(stage, &url, &ports);
            environment.push(("PORT".to_owned(), port.to_string()));
            environment.push(("BENCH_LOG".to_owned(), log.display().to_string()));
            let program = stage.args.program.display().to_string();
            let arguments = ["-c", INTO_LOG, &program, name].map(str::to_owned).to_vec();
            let spec = Spec {
                program: "/bin/sh".into(),
                arguments,
                environment,
                output: Arc::new(|_| {}),
            };
            let process = Process::start(&spec)?;
            roles.push(Role {
                name,
                address: format!("http://127.0.0.1:{port}"),
                log,
                spec,
                process,
            });
        }
        for role in &mut roles {
            role.ready().await?;
        }
        Ok(Self { url, roles })
    }

    /// Where orders are placed.
    pub fn address(&self) -> &str {
        &self.roles[0].address
    }

    /// In the order of [`ROLES`].
    pub fn pids(&self) -> [i32; 3] {
        [0, 1, 2].map(|role: usize| self.roles[role].process.pid())
    }

    /// Starts one role anew; returns how long it took until it said that it can serve.
    pub async fn restart(&mut self, role: usize) -> Fallible<Duration> {
        let role = &mut self.roles[role];
        role.process.stop().await?;
        let started = Instant::now();
        role.process = Process::start(&role.spec)?;
        role.ready().await?;
        Ok(started.elapsed())
    }

    /// Makes room on the disk; the services append.
    pub fn empty_logs(&self) -> std::io::Result<()> {
        self.roles.iter().try_for_each(|role| {
            std::fs::File::options()
                .write(true)
                .open(&role.log)?
                .set_len(0)
        })
    }

    pub async fn stop(mut self) -> Fallible<()> {
        for role in &mut self.roles {
            role.process.stop().await?;
        }
        Ok(())
    }
}

impl Role {
    async fn ready(&mut self) -> Fallible<()> {
        let client = Client::new(self.address.parse()?);
        let started = Instant::now();
        loop {
            let answer = client.get("/readyz", Deadline::after(READY_LIMIT)).await;
            if answer.is_ok_and(|answer| answer.status.is_success()) {
                return Ok(());
            }
            if self.process.has_ended()? || started.elapsed() > READY_LIMIT {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                let last = log.lines().next_back().unwrap_or_default();
                return Err(
                    format!("{} did not become ready; its last line: {last}", self.name).into(),
                );
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

fn environment(stage: &Stage<'_>, url: &DatabaseUrl, ports: &[u16]) -> Vec<(String, String)> {
    let at = |port: u16| format!("http://127.0.0.1:{port}");
    [
        ("HOST", "127.0.0.1".to_owned()),
        ("DATABASE_URL", url.with_password().to_owned()),
        ("INVENTORY_SERVICE_URL", at(ports[1])),
        ("PAYMENT_SERVICE_URL", at(ports[2])),
        (
            "PAYMENT_SUCCESS_RATE",
            stage.args.payment_success_rate.to_string(),
        ),
        ("LOG_FORMAT", "json".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}
