//! The routes of the control address.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::{self, Json, Path, ServiceConfig};
use actix_web::{HttpResponse, get, post};
use serde::Serialize;
use tokio::time::Instant;

use crate::platform::http::problem::Problem;
use crate::testbed::service_kind::ServiceKind;
use crate::testbed::supervisor::{ProcessState, ServiceState, SupervisorHandle};

type Supervisors = web::Data<[SupervisorHandle; 3]>;

/// `GET /demo`
#[derive(Debug, Serialize)]
struct DemoView {
    services: Vec<ServiceView>,
}

#[derive(Debug, Serialize)]
struct ServiceView {
    service: ServiceKind,
    /// The latest process, which may have ended; `None` before the first start.
    pid: Option<i32>,
    state: StateView,
    started_ms_ago: Option<u64>,
    /// How often the service was started again.
    restarts: u32,
    /// `None` while the process runs, and before the first start.
    restart_in_ms: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum StateView {
    Running,
    Ended,
}

impl ServiceView {
    fn new(service: ServiceKind, state: ServiceState, now: Instant) -> Self {
        let (pid, started, restarts_at) = match state.process {
            ProcessState::NotStarted => (None, None, None),
            ProcessState::Running { pid, started } => (Some(pid), Some(started), None),
            ProcessState::Ended {
                pid,
                started,
                restarts_at,
            } => (Some(pid), Some(started), Some(restarts_at)),
        };
        let is_running = matches!(state.process, ProcessState::Running { .. });
        Self {
            service,
            pid,
            state: if is_running {
                StateView::Running
            } else {
                StateView::Ended
            },
            started_ms_ago: started.map(|started| milliseconds(now - started)),
            restarts: state.restarts,
            restart_in_ms: restarts_at.map(|at| milliseconds(at - now)),
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The processes of the services.
#[get("/demo")]
async fn show(supervisors: Supervisors) -> Json<DemoView> {
    let now = Instant::now();
    let services = ServiceKind::ALL.iter().zip(supervisors.iter());
    let view = |(kind, supervisor): (&ServiceKind, &SupervisorHandle)| {
        ServiceView::new(*kind, supervisor.state(), now)
    };
    Json(DemoView {
        services: services.map(view).collect(),
    })
}

/// Kills a service with SIGKILL, and answers once its process has ended.
#[post("/demo/services/{service}/kill")]
async fn kill(supervisors: Supervisors, service: Path<String>) -> Result<HttpResponse, Problem> {
    let kind = ServiceKind::ALL
        .into_iter()
        .find(|kind| kind.as_str() == *service)
        .ok_or_else(|| Problem::not_found("There is no such service."))?;
    if supervisors[kind.index()].kill().await {
        return Ok(HttpResponse::Accepted().finish());
    }
    let detail = format!("The process of {kind} has ended already. The demo starts it again.");
    Err(Problem::new(StatusCode::CONFLICT, "already-ended", detail))
}

/// Adds the routes.
pub fn configure(service: &mut ServiceConfig) {
    service.service(show).service(kill);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn view(process: ProcessState, now: Instant) -> serde_json::Value {
        let state = ServiceState {
            process,
            restarts: 2,
        };
        serde_json::to_value(ServiceView::new(ServiceKind::Payment, state, now)).unwrap()
    }

    #[test]
    fn a_process_is_shown_with_its_age_and_the_time_until_its_restart() {
        let started = Instant::now();
        let now = started + Duration::from_millis(1500);
        let running = view(ProcessState::Running { pid: 7, started }, now);
        assert_eq!(
            running,
            json!({"service": "payment", "pid": 7, "state": "running", "started_ms_ago": 1500,
                "restarts": 2, "restart_in_ms": null})
        );
        let restarts_at = now + Duration::from_millis(800);
        let ended = ProcessState::Ended {
            pid: 7,
            started,
            restarts_at,
        };
        let shown = view(ended, now);
        assert_eq!(
            (&shown["state"], &shown["restart_in_ms"]),
            (&json!("ended"), &json!(800))
        );
        let overdue = view(ended, restarts_at + Duration::from_secs(1));
        assert_eq!(overdue["restart_in_ms"], 0);
        let before_start = view(ProcessState::NotStarted, now);
        assert_eq!(
            (&before_start["state"], &before_start["pid"]),
            (&json!("ended"), &json!(null))
        );
    }
}
