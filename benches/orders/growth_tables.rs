//! The tables of the growth measurement.

use crate::growth::{Growth, Point};
use crate::latency::Latency;
use crate::stats::Spread;
use crate::table::Table;

pub fn all(growth: &Growth) -> [Table; 3] {
    let stored = "Growth with orders already stored, 32 clients, 1,000 products";
    [
        table(
            "Growth with clients, spread over 1,000 products",
            "clients",
            &growth.clients,
        ),
        table(
            "Growth with products, 32 clients",
            "products",
            &growth.products,
        ),
        table(stored, "stored", &growth.stored),
    ]
}

fn table(title: &str, what: &str, points: &[Point]) -> Table {
    let heads = [
        what,
        "orders/s (min..max)",
        "p50 ms",
        "p99 ms",
        "failed requests",
    ];
    let mut table = Table::new(title, heads);
    for Point { number, runs } in points {
        let rate = Spread::of(runs.iter().map(|run| run.per_second));
        let median = |value: fn(&Latency) -> f64| {
            let latencies = runs.iter().filter_map(|run| run.latency.as_ref());
            Spread::of(latencies.map(value)).median
        };
        let failed: u32 = runs.iter().map(|run| run.failed).sum();
        table.row([
            number.to_string(),
            format!("{rate:.0}"),
            format!("{:.1}", median(|latency| latency.p50)),
            format!("{:.1}", median(|latency| latency.p99)),
            failed.to_string(),
        ]);
    }
    table
}
