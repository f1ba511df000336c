//! How orders per second grow: with clients, with products, with rows already stored.

use serde::Serialize;

use crate::Fallible;
use crate::database;
use crate::load::{Run, Subject};
use crate::stage::Stage;

const CLIENTS: [u32; 5] = [1, 8, 32, 128, 512];
const PRODUCTS: [u32; 3] = [1, 10, 1000];
const USUAL_CLIENTS: u32 = 32;
const USUAL_PRODUCTS: u32 = 1000;

/// One figure of a series, measured several times.
#[derive(Debug, Serialize)]
pub struct Point {
    pub at: u32,
    pub runs: Vec<Run>,
}

#[derive(Debug, Serialize)]
pub struct Growth {
    pub clients: Vec<Point>,
    pub products: Vec<Point>,
    pub stored: Vec<Point>,
}

pub async fn run(stage: &Stage<'_>) -> Fallible<Growth> {
    let subject = Subject::build(stage, "growth").await?;
    subject.warm_up().await?;
    let mut clients = points(&CLIENTS);
    let mut products = points(&PRODUCTS);
    // Rounds over whole series: what is stored meanwhile burdens all points alike.
    for _ in 0..stage.args.rounds {
        for point in &mut clients {
            point.add(
                "clients",
                subject.orders(point.at, Some(USUAL_PRODUCTS)).await?,
            );
        }
        for point in &mut products {
            point.add(
                "products",
                subject.orders(USUAL_CLIENTS, Some(point.at)).await?,
            );
        }
    }
    subject.close().await?;
    let mut stored = points(&stage.args.stored);
    for point in &mut stored {
        on_stored(stage, point).await?;
    }
    Ok(Growth {
        clients,
        products,
        stored,
    })
}

/// On a database of its own, which holds that many orders when the load begins.
async fn on_stored(stage: &Stage<'_>, point: &mut Point) -> Fallible<()> {
    let subject = Subject::build(stage, &format!("stored_{}", point.at)).await?;
    eprintln!("storing {} orders", point.at);
    let fill = include_str!("stored.sql").replace("$ROWS", &point.at.to_string());
    database::execute(&subject.books, &fill).await?;
    subject.warm_up().await?;
    for _ in 0..stage.args.rounds {
        point.add(
            "stored orders",
            subject.orders(USUAL_CLIENTS, Some(USUAL_PRODUCTS)).await?,
        );
    }
    subject.close().await
}

fn points(at: &[u32]) -> Vec<Point> {
    at.iter()
        .map(|at| Point {
            at: *at,
            runs: Vec::new(),
        })
        .collect()
}

impl Point {
    fn add(&mut self, what: &str, run: Run) {
        eprintln!("  {} {what}: {:.0} orders/s", self.at, run.per_second);
        self.runs.push(run);
    }
}
