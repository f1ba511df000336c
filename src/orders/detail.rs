//! One order as text: its fields, and its events as a timeline.

use chrono::{DateTime, Utc};

use super::summary::{MAX_STATUS_WIDTH, exact_time, last_failure, outcome, remainder, status};
use crate::api::{Order, OrderDetail, OrderEvent};
use crate::platform::output::{printable, wrapped};
use crate::platform::text_table::{self, Align};

const MIN_WRAPPED_WIDTH: usize = 12;

pub fn text(detail: &OrderDetail, now: DateTime<Utc>) -> String {
    let mut rows = fields(&detail.order, now);
    rows.extend(traces(detail));
    let rows = with_wrapped_column(rows, 1, "  ".len());
    let fields = text_table::lines(&rows, [Align::Left; 2]).join("\n");
    let timeline = timeline(&detail.events, detail.order.created_at).join("\n");
    format!("{fields}\n\n{timeline}")
}

fn fields(order: &Order, now: DateTime<Utc>) -> Vec<[String; 2]> {
    let settled = remainder(order, now, exact_time).map_or_else(
        || "yes: nothing is owed".to_owned(),
        |remainder| format!("no: {remainder}"),
    );
    let fields = [
        ("id", Some(order.id.to_string())),
        ("product", Some(printable(&order.product_id))),
        ("quantity", Some(order.quantity.to_string())),
        ("status", Some(status(order))),
        ("message", Some(printable(&order.message))),
        ("settled", Some(settled)),
        ("next attempt", order.next_attempt_at.map(exact_time)),
        ("last failure", failed_call(order)),
        ("created", Some(exact_time(order.created_at))),
        ("updated", Some(exact_time(order.updated_at))),
        ("fulfilled", order.fulfilled_at.map(exact_time)),
    ];
    let fields = fields.into_iter();
    let fields = fields.filter_map(|(name, value)| Some([name.to_owned(), value?]));
    fields.collect()
}

fn failed_call(order: &Order) -> Option<String> {
    let step = order.last_failure.as_ref()?;
    let (at, took) = (exact_time(step.started_at), milliseconds(step.duration_ms));
    last_failure(order).map(|call| format!("{call}, at {at}, took {took}"))
}

/// The trace of the request that placed the order, and those of the later attempts.
fn traces(detail: &OrderDetail) -> Vec<[String; 2]> {
    let mut rows = Vec::new();
    if let Some(trace_id) = &detail.order.trace_id {
        rows.push(["trace".to_owned(), printable(trace_id)]);
    }
    for event in &detail.events {
        let Some(trace_id) = &event.trace_id else {
            continue;
        };
        if event.attempt > 1 {
            let trace_id = format!("{} (attempt {})", printable(trace_id), event.attempt);
            let row = ["trace".to_owned(), trace_id];
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
    }
    rows
}

/// A line for each change of the order. The calls that led to it are above it, with an indent.
fn timeline(events: &[OrderEvent], created_at: DateTime<Utc>) -> Vec<String> {
    let time = |at| timeline_time(at, created_at);
    let head = [
        "TIME (UTC)",
        "ATTEMPT",
        "STATUS OR CALL",
        "REASON OR OUTCOME",
        "TOOK",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    for event in events {
        let attempt = event.attempt.to_string();
        rows.extend(event.steps.iter().map(|step| {
            [
                time(step.started_at),
                attempt.clone(),
                text_table::cut(&format!("  {}", printable(&step.step)), MAX_STATUS_WIDTH),
                outcome(step),
                milliseconds(step.duration_ms),
            ]
        }));
        rows.push([
            time(event.at),
            attempt,
            text_table::cut(&printable(&event.status), MAX_STATUS_WIDTH),
            printable(&event.reason),
            String::new(),
        ]);
    }
    let columns = [
        Align::Left,
        Align::Right,
        Align::Left,
        Align::Left,
        Align::Right,
    ];
    let rows = with_wrapped_column(rows, 3, 4 * "  ".len());
    text_table::lines(&rows, columns)
}

/// Breaks the cells of one column into rows of their own, so that the table fits a terminal. The
/// gaps between the columns take `gaps` columns.
fn with_wrapped_column<const N: usize>(
    rows: Vec<[String; N]>,
    wrapped_column: usize,
    gaps: usize,
) -> Vec<[String; N]> {
    let widest = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let others = (0..N).filter(|column| *column != wrapped_column);
    let taken = others.map(widest).sum::<usize>() + gaps;
    let width = text_table::WIDTH
        .saturating_sub(taken)
        .max(MIN_WRAPPED_WIDTH);
    let broken = rows.into_iter().flat_map(|mut row| {
        let mut lines = wrapped(&row[wrapped_column], width).into_iter();
        row[wrapped_column] = lines.next().unwrap_or_default();
        let rest = lines.map(|line| {
            let mut rest = std::array::from_fn(|_| String::new());
            rest[wrapped_column] = line;
            rest
        });
        std::iter::once(row).chain(rest).collect::<Vec<_>>()
    });
    broken.collect()
}

/// The time, and the day if it is not the one on which the order was created.
fn timeline_time(at: DateTime<Utc>, created_at: DateTime<Utc>) -> String {
    let format = if at.date_naive() == created_at.date_naive() {
        "%H:%M:%S%.3f"
    } else {
        "%m-%d %H:%M:%S%.3f"
    };
    at.format(format).to_string()
}

fn milliseconds(duration: f64) -> String {
    if duration < 100.0 {
        format!("{duration:.1} ms")
    } else {
        format!("{duration:.0} ms")
    }
}
