//! Orders per second by the number of clients, of products, and of stored orders.

use serde::Serialize;

use crate::database;
use crate::fallible::Fallible;
use crate::fixture::Fixture;
use crate::platform::Platform;
use crate::run::Run;

const CLIENTS: [u32; 5] = [1, 8, 32, 128, 512];
const PRODUCTS: [u32; 3] = [1, 10, 1000];
/// For the series over other numbers.
const DEFAULT_CLIENTS: u32 = 32;
const DEFAULT_PRODUCTS: u32 = 1000;

/// The runs at one number of clients, products or stored orders.
#[derive(Debug, Serialize)]
pub struct Point {
    #[serde(rename = "at")]
    pub number: u32,
    pub runs: Vec<Run>,
}

#[derive(Debug, Serialize)]
pub struct Growth {
    pub clients: Vec<Point>,
    pub products: Vec<Point>,
    pub stored: Vec<Point>,
}

pub async fn run(fixture: &Fixture<'_>) -> Fallible<Growth> {
    let platform = Platform::start(fixture, "growth").await?;
    platform.warm_up().await?;
    let mut clients = points(&CLIENTS);
    let mut products = points(&PRODUCTS);
    // Each round covers all points, because the tables grow with each run: so they grow for all
    // points alike.
    for _ in 0..fixture.args.rounds {
        for point in &mut clients {
            let run = platform.place_orders(point.number, Some(DEFAULT_PRODUCTS));
            point.add("clients", run.await?);
        }
        for point in &mut products {
            let run = platform.place_orders(DEFAULT_CLIENTS, Some(point.number));
            point.add("products", run.await?);
        }
    }
    platform.stop().await?;
    let mut stored = points(&fixture.args.stored);
    for point in &mut stored {
        run_on_stored_orders(fixture, point).await?;
    }
    Ok(Growth {
        clients,
        products,
        stored,
    })
}

/// Uses a database of its own, which holds the point's number of orders before the load.
async fn run_on_stored_orders(fixture: &Fixture<'_>, point: &mut Point) -> Fallible<()> {
    let platform = Platform::start(fixture, &format!("stored_{}", point.number)).await?;
    eprintln!("storing {} orders", point.number);
    let fill = include_str!("stored.sql").replace("$ROWS", &point.number.to_string());
    database::execute(&platform.database, &fill).await?;
    platform.warm_up().await?;
    for _ in 0..fixture.args.rounds {
        let run = platform.place_orders(DEFAULT_CLIENTS, Some(DEFAULT_PRODUCTS));
        point.add("stored orders", run.await?);
    }
    platform.stop().await
}

fn points(numbers: &[u32]) -> Vec<Point> {
    let point = |number: &u32| Point {
        number: *number,
        runs: Vec::new(),
    };
    numbers.iter().map(point).collect()
}

impl Point {
    fn add(&mut self, what: &str, run: Run) {
        eprintln!("  {} {what}: {:.0} orders/s", self.number, run.per_second);
        self.runs.push(run);
    }
}
