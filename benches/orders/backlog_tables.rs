//! The results of the backlog measurement.

use crate::backlog::Backlog;
use crate::latency::Latency;
use crate::table::Table;

pub fn latency(backlog: &Backlog) -> Table {
    let Backlog {
        orders,
        seconds,
        per_second,
        new_orders_per_second,
        ..
    } = backlog;
    let title = format!(
        "A backlog of {orders} orders: finished in {seconds:.1} s, {per_second:.0} per second, \
         beside {new_orders_per_second:.0} new orders per second"
    );
    let heads = ["latency of new orders, ms", "p50", "p90", "p99", "max"];
    let mut table = Table::new(title, heads);
    for (name, latency) in [
        ("without a backlog", backlog.latency_without),
        ("with the backlog", Some(backlog.latency_during)),
    ] {
        let cell = |value: fn(&Latency) -> f64| match &latency {
            Some(latency) => format!("{:.2}", value(latency)),
            None => "–".to_owned(),
        };
        table.row([
            name.to_owned(),
            cell(|l| l.p50),
            cell(|l| l.p90),
            cell(|l| l.p99),
            cell(|l| l.max),
        ]);
    }
    table
}

pub fn plan(backlog: &Backlog, markdown: bool) -> String {
    let verdict = if backlog.by_index {
        "✓ the claim finds its rows by an index"
    } else {
        "✗ the claim does not use an index"
    };
    let fence = if markdown { "```" } else { "" };
    let (failed, plan) = (backlog.failed, backlog.plan.join("\n"));
    format!("{verdict}; {failed} new orders failed\n\n{fence}\n{plan}\n{fence}\n")
}
