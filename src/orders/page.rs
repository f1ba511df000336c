//! A page of orders as a table.

use chrono::{DateTime, Utc};

use super::summary::{last_failure, remainder, short_time, status};
use crate::api::{Order, OrderPage};
use crate::platform::output::printable;
use crate::platform::text_table::{self, Align};

/// Most terminals show at least this many columns, or can be made to.
const MAX_WIDTH: usize = 100;
/// The longest status that this version knows is `FAILED: insufficient-stock`.
const MAX_STATUS_WIDTH: usize = 26;
/// Longer products are cut off, and further if the other columns need the room.
const MAX_PRODUCT_WIDTH: usize = 32;
const INDENT: &str = "    ";

/// A line for each order, and a second one for each that is not settled.
pub fn text(page: &OrderPage, now: DateTime<Utc>) -> String {
    let orders = &page.orders;
    let mut lines = table(orders, now).into_iter();
    let mut text: Vec<String> = lines.next().into_iter().collect();
    for (order, line) in orders.iter().zip(lines) {
        text.push(line);
        text.extend(second_line(order, now));
    }
    if let Some(cursor) = &page.next_cursor {
        let cursor = printable(cursor);
        text.push(format!(
            "older orders: repeat the command with --cursor {cursor}"
        ));
    }
    text.join("\n")
}

fn table(orders: &[Order], now: DateTime<Utc>) -> Vec<String> {
    let head = ["ID", "CREATED (UTC)", "PRODUCT", "QTY", "STATUS"].map(str::to_owned);
    let mut rows = vec![head];
    rows.extend(orders.iter().map(|order| {
        [
            order.id.to_string(),
            short_time(order.created_at, now),
            cut(&printable(&order.product_id), MAX_PRODUCT_WIDTH),
            order.quantity.to_string(),
            cut(&status(order), MAX_STATUS_WIDTH),
        ]
    }));
    let columns = [
        Align::Left,
        Align::Left,
        Align::Left,
        Align::Right,
        Align::Left,
    ];
    let lines = text_table::lines(&rows, columns);
    let width = lines.iter().map(|line| line.chars().count()).max();
    let excess = width.unwrap_or(0).saturating_sub(MAX_WIDTH);
    if excess == 0 {
        return lines;
    }
    let product_width = rows.iter().map(|row| row[2].chars().count()).max();
    let product_width = product_width.unwrap_or(0).saturating_sub(excess);
    for row in &mut rows {
        row[2] = cut(&row[2], product_width);
    }
    text_table::lines(&rows, columns)
}

/// The work that is left for an order, and the call that failed last.
fn second_line(order: &Order, now: DateTime<Utc>) -> Option<String> {
    let remainder = remainder(order, now, |at| short_time(at, now))?;
    let failure = last_failure(order).map_or_else(String::new, |call| format!(": {call}"));
    Some(cut(&format!("{INDENT}{remainder}{failure}"), MAX_WIDTH))
}

/// Returns the text if it fits, and otherwise its beginning and an ellipsis.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept = text.chars().take(width.saturating_sub(1));
    kept.chain(['…']).collect()
}
