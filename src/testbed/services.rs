//! The three services as processes on one database.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use futures_util::future::join_all;
use nix::sys::signal::Signal;

use super::addresses::Addresses;
use super::environment::{Variables, service_environment};
use super::error::TestbedError;
use super::process::{LineSink, Output, Process, ProcessSpec};
use super::readiness::{Readiness, wait_until_ready};
use super::recent_lines::RecentLines;
use super::service_kind::ServiceKind;
use crate::platform::client::BaseUrl;
use crate::platform::db::DatabaseUrl;

const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// How to start the services.
pub struct ServicesConfig {
    /// The `valerix` program.
    pub program: PathBuf,
    pub addresses: Addresses,
    /// A session of a service has the service's name as its `application_name`.
    pub database_url: DatabaseUrl,
    /// Set for all services, in addition to [`service_environment`].
    pub variables: Variables,
    pub output: ServicesOutput,
    /// Pause between two readiness checks of a service that starts.
    pub poll_interval: Duration,
}

/// Where the services' output goes.
pub enum ServicesOutput {
    /// Each line goes to this function.
    Lines(LineSink),
    /// Each service writes to the file `<name>.log` in this directory.
    LogFiles(PathBuf),
}

/// The processes of the three services. Dropping this value stops them.
pub struct Services {
    config: ServicesConfig,
    slots: [Slot; 3],
}

/// One service and its process.
#[derive(Default)]
struct Slot {
    /// `None` before the first start.
    process: Option<Process>,
    recent_lines: RecentLines,
}

impl Services {
    /// Starts nothing yet.
    #[must_use]
    pub fn new(config: ServicesConfig) -> Self {
        Self {
            config,
            slots: Default::default(),
        }
    }

    /// Starts all services, and returns when all of them are ready.
    ///
    /// # Errors
    /// When a service cannot be started, ends, or is not ready within 30 s.
    pub async fn start_all(&mut self) -> Result<(), TestbedError> {
        for kind in ServiceKind::ALL {
            self.launch(kind, &[])?;
        }
        for kind in ServiceKind::ALL {
            if self.wait_until_ready(kind).await? == Readiness::Ended {
                return Err(self.not_ready(kind));
            }
        }
        Ok(())
    }

    /// Starts a service, and does not wait until it is ready. `variables` are set in addition to
    /// those of the configuration.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn launch(
        &mut self,
        kind: ServiceKind,
        variables: &[(String, String)],
    ) -> Result<(), TestbedError> {
        let database_url = self.config.database_url.with_password_for(kind.as_str());
        let mut environment = service_environment(kind, &self.config.addresses, &database_url);
        environment.extend_from_slice(&self.config.variables);
        environment.extend_from_slice(variables);
        let process = Process::start(&ProcessSpec {
            program: self.config.program.clone(),
            arguments: vec![kind.to_string()],
            environment,
            output: self.output(kind),
        })?;
        self.slots[kind.index()].process = Some(process);
        Ok(())
    }

    fn output(&self, kind: ServiceKind) -> Output {
        match &self.config.output {
            ServicesOutput::Lines(sink) => {
                let (sink, recent_lines) = (
                    Arc::clone(sink),
                    self.slots[kind.index()].recent_lines.clone(),
                );
                Output::Lines(Arc::new(move |line| {
                    recent_lines.push(line);
                    sink(line);
                }))
            }
            ServicesOutput::LogFiles(directory) => {
                Output::File(directory.join(format!("{kind}.log")))
            }
        }
    }

    /// Waits until a started service is ready or its process has ended.
    ///
    /// # Errors
    /// When the service is neither within 30 s.
    pub async fn wait_until_ready(&mut self, kind: ServiceKind) -> Result<Readiness, TestbedError> {
        let (url, poll_interval) = (self.url(kind), self.config.poll_interval);
        let has_ended = || self.has_ended(kind);
        match wait_until_ready(&url, READY_TIMEOUT, poll_interval, has_ended).await? {
            Readiness::TimedOut => Err(self.not_ready(kind)),
            readiness => Ok(readiness),
        }
    }

    fn not_ready(&self, kind: ServiceKind) -> TestbedError {
        let last_lines = match self.output(kind) {
            Output::Lines(_) => self.slots[kind.index()].recent_lines.text(),
            Output::File(path) => {
                let log = fs::read_to_string(path).unwrap_or_default();
                log.lines().next_back().unwrap_or_default().to_owned()
            }
        };
        TestbedError::NotReady { kind, last_lines }
    }

    /// Kills a service, starts it again, and waits until it is ready or has ended.
    ///
    /// # Errors
    /// When the new process cannot be started, or does not become ready within 30 s.
    pub async fn replace(
        &mut self,
        kind: ServiceKind,
        variables: &[(String, String)],
    ) -> Result<Readiness, TestbedError> {
        if let Some(mut process) = self.slots[kind.index()].process.take() {
            process.kill().await?;
        }
        self.launch(kind, variables)?;
        self.wait_until_ready(kind).await
    }

    /// Whether the service's process has ended, or was never started.
    ///
    /// # Errors
    /// When the process cannot be waited for.
    pub fn has_ended(&mut self, kind: ServiceKind) -> io::Result<bool> {
        let process = self.slots[kind.index()].process.as_mut();
        process.map_or(Ok(true), Process::has_ended)
    }

    /// The id of the service's present process.
    #[must_use]
    pub fn pid(&self, kind: ServiceKind) -> Option<i32> {
        self.slots[kind.index()].process.as_ref().map(Process::pid)
    }

    pub fn signal(&self, kind: ServiceKind, signal: Signal) {
        if let Some(process) = &self.slots[kind.index()].process {
            process.signal(signal);
        }
    }

    #[must_use]
    pub fn url(&self, kind: ServiceKind) -> BaseUrl {
        self.config.addresses.url(kind)
    }

    #[must_use]
    pub fn database_url(&self) -> &DatabaseUrl {
        &self.config.database_url
    }

    /// Stops a service in order.
    ///
    /// # Errors
    /// When its process cannot be waited for.
    pub async fn stop(&mut self, kind: ServiceKind) -> io::Result<()> {
        match &mut self.slots[kind.index()].process {
            Some(process) => process.stop().await.map(drop),
            None => Ok(()),
        }
    }

    /// Stops all services gracefully, at the same time.
    ///
    /// # Errors
    /// When a process cannot be waited for.
    pub async fn stop_all(&mut self) -> io::Result<()> {
        let processes = self
            .slots
            .iter_mut()
            .filter_map(|slot| slot.process.as_mut());
        let stopped = join_all(processes.map(Process::stop)).await;
        stopped
            .into_iter()
            .try_for_each(|outcome| outcome.map(drop))
    }
}
