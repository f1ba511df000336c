//! `valerix gremlin tour`: the checklist, then each kind of fault, told while it happens and
//! checked at each step.

mod client;
mod narrator;
mod private_platform;

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use super::GremlinError;
use crate::platform::client::{BaseUrl, CallError};
use crate::platform::fault_injection::Latency;
use crate::platform::shutdown::Shutdown;
use client::{Placed, Service, Stage};
use narrator::Narrator;
pub use narrator::Report;
use private_platform::OwnPlatform;

const SLOW: Latency = Latency {
    enabled: true,
    delay_ms: 3000,
};
const CALM: Latency = Latency {
    enabled: false,
    delay_ms: 0,
};
/// More than a tour orders.
const UNITS: i64 = 80;
/// One in ten payments is declined; so many in a row never are.
const TRIES: usize = 20;
/// The order service waits 2 s for one call, and ends a request within two such steps and a margin.
const ONE_STEP: Duration = Duration::from_millis(1900);
const TWO_STEPS: Duration = Duration::from_millis(4300);
/// Enough late calls for a breaker to open.
const CROWD: usize = 16;

/// Where the platform is.
#[derive(Debug, Clone)]
pub struct Config {
    /// Order, inventory, payment.
    pub urls: [BaseUrl; 3],
    pub token: Option<String>,
}

/// Why the tour could not go on.
#[derive(Debug, thiserror::Error)]
pub enum TourError {
    #[error("nothing answers at {0}; start the platform with 'make demo' or 'make up'")]
    NoPlatform(BaseUrl),
    #[error(
        "no product has {UNITS} units left, which the tour may order; restock, or start anew with 'make demo ARGS=--reset'"
    )]
    SoldOut,
    #[error("the platform that was started for the tour did not become ready:\n{0}")]
    NotReady(String),
    #[error("{what} at {url}: {cause}")]
    Call {
        what: &'static str,
        url: BaseUrl,
        cause: CallError,
    },
    #[error(transparent)]
    Gremlin(#[from] GremlinError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Returns what was found; nothing when the tour was asked to stop. What it broke is mended when it
/// returns.
///
/// # Errors
/// When the tour could not go on.
pub async fn run(
    config: Config,
    json: bool,
    shutdown: &Shutdown,
) -> Result<Option<Report>, TourError> {
    let mut narrator = Narrator::new(json);
    let mut stage = Stage::new(&config.urls, config.token.as_deref());
    if stage.is_up().await {
        let outcome = guided(&mut stage, &mut narrator, shutdown).await?;
        return Ok(outcome.map(|()| narrator.conclude()));
    }
    let mut own = OwnPlatform::launch(&config.urls[0])?;
    narrator.say("No platform runs here: one was started for the tour, and ends with it");
    stage = Stage::new(&own.urls, None);
    let outcome = tokio::select! {
        ready = own.ready() => ready,
        () = shutdown.requested() => return own.stop().await.map(|()| None),
    };
    let outcome = match outcome {
        Ok(()) => guided(&mut stage, &mut narrator, shutdown).await,
        Err(error) => Err(error),
    };
    own.stop().await?;
    Ok(outcome?.map(|()| narrator.conclude()))
}

/// Walks through the tour until it ends or is asked to stop; then nothing is broken any more.
async fn guided(
    stage: &mut Stage,
    narrator: &mut Narrator,
    shutdown: &Shutdown,
) -> Result<Option<()>, TourError> {
    let outcome = tokio::select! {
        outcome = walk(stage, narrator) => outcome.map(Some),
        () = shutdown.requested() => Ok(None),
    };
    stage.calm_down().await;
    outcome
}

async fn walk(stage: &mut Stage, narrator: &mut Narrator) -> Result<(), TourError> {
    stage.calm_down().await;
    stage.choose_product(UNITS).await?;
    health(stage, narrator).await?;
    slow_warehouse(stage, narrator).await?;
    for fault in FAULTS {
        fault.show(stage, narrator).await?;
    }
    open_breaker(stage, narrator).await?;
    books(stage, narrator).await
}

async fn health(stage: &Stage, narrator: &mut Narrator) -> Result<(), TourError> {
    narrator.say("Health");
    for service in [Service::Order, Service::Inventory, Service::Payment] {
        let health = stage.health(service).await?;
        narrator.check(&health.service, health.status == "healthy", &health.status);
    }
    Ok(())
}

/// The contract's checklist.
async fn slow_warehouse(stage: &mut Stage, narrator: &mut Narrator) -> Result<(), TourError> {
    narrator.say("An order, all well");
    confirmed(stage, narrator).await?;
    narrator.say("The gremlin makes every answer of inventory 3 s late");
    stage.handle(Service::Inventory).set_latency(SLOW).await?;
    let placed = stage.place().await?;
    let late = (ONE_STEP..TWO_STEPS).contains(&placed.took);
    narrator.check("the customer", placed.status == 202 && late, placed.tell());
    let told = placed.message == "Order is being processed";
    narrator.check("the message", told, &placed.message);
    for _ in 0..TRIES {
        if stage.sla().await?.status == "red" {
            break;
        }
        stage.place().await?;
    }
    light(stage, narrator, "red").await?;
    narrator.say("The gremlin is off again");
    stage.handle(Service::Inventory).set_latency(CALM).await?;
    finished(stage, narrator, &placed).await?;
    confirmed(stage, narrator).await?;
    for _ in 0..TRIES {
        if stage.sla().await?.status == "green" {
            break;
        }
        stage.place().await?;
    }
    light(stage, narrator, "green").await
}

async fn light(stage: &Stage, narrator: &mut Narrator, wanted: &str) -> Result<(), TourError> {
    let sla = stage.sla().await?;
    let told = format!(
        "{}: {} ms on average over {} orders",
        sla.status, sla.average_ms, sla.requests
    );
    narrator.check("the SLA light", sla.status == wanted, told);
    Ok(())
}

/// A breaker that is not closed yet, and payments that are declined, only mean one more try.
async fn confirmed(stage: &Stage, narrator: &mut Narrator) -> Result<(), TourError> {
    let mut placed = stage.place().await?;
    for _ in 1..TRIES {
        match placed.status {
            402 => narrator.note(&format!("{} (one in ten payments is)", placed.tell())),
            202 => {
                narrator.note(&placed.tell());
                stage.settled(&placed).await?;
            }
            _ => break,
        }
        placed = stage.place().await?;
    }
    narrator.check("the customer", placed.status == 201, placed.tell());
    Ok(())
}

async fn finished(
    stage: &Stage,
    narrator: &mut Narrator,
    placed: &Placed,
) -> Result<(), TourError> {
    let settled = stage.settled(placed).await?;
    let well = settled.status == "CONFIRMED" || settled.reason == "payment-declined";
    narrator.check("the order", well, settled.tell());
    Ok(())
}

/// One kind of fault, and what the customer sees of it.
struct Fault {
    title: &'static str,
    service: Service,
    rule: fn() -> serde_json::Value,
}

const FAULTS: &[Fault] = &[
    Fault {
        title: "latency: inventory takes 3 s for one reservation",
        service: Service::Inventory,
        rule: || json!({"kind": "latency", "delay_ms": 3000, "route": "/inventory/reserve", "max_fires": 1}),
    },
    Fault {
        title: "error: payment answers 500",
        service: Service::Payment,
        rule: || json!({"kind": "error", "status": 500, "route": "/payments", "max_fires": 1}),
    },
    Fault {
        title: "drop: payment's connection closes before the charge",
        service: Service::Payment,
        rule: || json!({"kind": "drop", "route": "/payments", "max_fires": 1}),
    },
    Fault {
        title: "vanish: payment charges, and its answer never comes",
        service: Service::Payment,
        rule: || json!({"kind": "vanish", "route": "/payments", "max_fires": 1}),
    },
    Fault {
        title: "hang: inventory never answers",
        service: Service::Inventory,
        rule: || json!({"kind": "hang", "route": "/inventory/reserve", "max_fires": 1}),
    },
    Fault {
        title: "crash: inventory reserves, commits, and dies",
        service: Service::Inventory,
        rule: || json!({"kind": "crash", "route": "/inventory/reserve", "max_fires": 1}),
    },
];

impl Fault {
    async fn show(&self, stage: &Stage, narrator: &mut Narrator) -> Result<(), TourError> {
        narrator.say(self.title);
        stage.all_healthy().await?;
        let handle = stage.handle(self.service);
        let rule = handle.add(&(self.rule)()).await?;
        let placed = stage.place().await?;
        narrator.check("the customer", placed.status == 202, placed.tell());
        stage.all_healthy().await?;
        // After a crash it is gone by itself.
        if let Some(fired) = handle
            .rules()
            .await?
            .iter()
            .find(|known| known.id == rule.id)
        {
            narrator.check(
                "the gremlin",
                fired.fired == 1,
                format!("struck {} time", fired.fired),
            );
            handle.remove(rule.id).await?;
        }
        finished(stage, narrator, &placed).await?;
        let sla = stage.sla().await?;
        narrator.note(&format!(
            "the SLA light is {}: {} ms on average",
            sla.status, sla.average_ms
        ));
        Ok(())
    }
}

async fn open_breaker(stage: &Stage, narrator: &mut Narrator) -> Result<(), TourError> {
    narrator.say("A crowd while payment hangs for the order service alone");
    let hang = json!({"kind": "hang", "direction": "outbound", "dependency": "payment-service"});
    let handle = stage.handle(Service::Order);
    let rule = handle.add(&hang).await?;
    let crowd = join_all((0..CROWD).map(|_| stage.place())).await;
    let crowd = crowd.into_iter().collect::<Result<Vec<_>, _>>()?;
    let pending = crowd.iter().filter(|placed| placed.status == 202).count();
    let slowest = crowd
        .iter()
        .map(|placed| placed.took)
        .max()
        .unwrap_or_default();
    let told = format!(
        "{pending} of {CROWD} were told 202, the last after {:.1} s",
        slowest.as_secs_f64()
    );
    narrator.check("the crowd", pending == CROWD, told);
    let next = stage.place().await?;
    let at_once = next.status == 202 && next.took < ONE_STEP;
    narrator.check(
        "the breaker is open: the next customer",
        at_once,
        next.tell(),
    );
    handle.remove(rule.id).await?;
    let mut last = Duration::ZERO;
    for placed in crowd.iter().chain([&next]) {
        last = last.max(stage.settled(placed).await?.after);
    }
    narrator.check(
        "their orders",
        true,
        format!(
            "all finished, the last {:.1} s after it was placed",
            last.as_secs_f64()
        ),
    );
    Ok(())
}

async fn books(stage: &Stage, narrator: &mut Narrator) -> Result<(), TourError> {
    narrator.say("The books");
    let audit = stage.settled_books().await?;
    for invariant in &audit.invariants {
        let told = format!(
            "{} of {} violate it",
            invariant.violations, invariant.checked
        );
        narrator.check(&invariant.meaning, invariant.violations == 0, told);
    }
    Ok(())
}
