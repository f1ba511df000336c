//! A page of orders as a table.

use chrono::{DateTime, Datelike, Utc};

use super::summary::{MAX_STATUS_WIDTH, last_failure, remainder, short_time};
use crate::api::{Order, OrderPage};
use crate::platform::output::{printable, wrapped};
use crate::platform::text_table::{self, Align};

const PRODUCT_COLUMN: usize = 2;
const INDENT: &str = "    ";

/// A line for each order. The reason of a failure and the work that is left are below it.
pub fn text(page: &OrderPage, now: DateTime<Utc>) -> String {
    let orders = &page.orders;
    let mut lines = table(orders, now).into_iter();
    let mut text: Vec<String> = lines.next().into_iter().collect();
    for (order, line) in orders.iter().zip(lines) {
        text.push(line);
        text.extend(lines_below(order, now));
    }
    if let Some(cursor) = &page.next_cursor {
        let cursor = printable(cursor);
        text.push("older orders: repeat the command with".to_owned());
        text.push(format!("{INDENT}--cursor {cursor}"));
    }
    text.join("\n")
}

fn table(orders: &[Order], now: DateTime<Utc>) -> Vec<String> {
    let head = ["ID", "AT (UTC)", "PRODUCT", "QTY", "STATUS"].map(str::to_owned);
    let mut rows = vec![head];
    rows.extend(orders.iter().map(|order| {
        [
            order.id.to_string(),
            shortest_time(order.created_at, now),
            printable(&order.product_id),
            order.quantity.to_string(),
            text_table::cut(&printable(&order.status), MAX_STATUS_WIDTH),
        ]
    }));
    let columns = [
        Align::Left,
        Align::Left,
        Align::Left,
        Align::Right,
        Align::Left,
    ];
    text_table::lines_within(rows, columns, PRODUCT_COLUMN, text_table::WIDTH)
}

/// The time of today, or the day of this year, or the month. `show` has the exact time.
fn shortest_time(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let format = if at.date_naive() == now.date_naive() {
        "%H:%M:%S"
    } else if at.year() == now.year() {
        "%b %e"
    } else {
        "%b %Y"
    };
    at.format(format).to_string()
}

/// Why the order failed, the work that is left for it, and the call that failed last.
fn lines_below(order: &Order, now: DateTime<Utc>) -> Vec<String> {
    let reason = order.failure_reason.as_deref().map(printable);
    let fulfilled = order
        .fulfilled_at
        .map(|at| format!("fulfilled at {}", short_time(at, now)));
    let left = remainder(order, now, |at| short_time(at, now)).map(|remainder| {
        let failure = last_failure(order).map_or_else(String::new, |call| format!(": {call}"));
        format!("{remainder}{failure}")
    });
    let facts = [reason, fulfilled, left].into_iter().flatten();
    let facts = facts.collect::<Vec<_>>().join("; ");
    if facts.is_empty() {
        return Vec::new();
    }
    let lines = wrapped(&facts, text_table::WIDTH - INDENT.len()).into_iter();
    lines.map(|line| format!("{INDENT}{line}")).collect()
}
