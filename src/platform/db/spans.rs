//! A span for each SQL statement, by OpenTelemetry's conventions for databases.

use diesel::connection::{Instrumentation, InstrumentationEvent};
use tracing::Span;

use crate::platform::observability::trace_context;

/// Watches one connection; its statements run one after the other.
#[derive(Default)]
pub struct Statements {
    running: Option<Span>,
}

impl Instrumentation for Statements {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        match event {
            // Putting the text together costs; nobody would see it.
            InstrumentationEvent::StartQuery { .. } if !trace_context::is_sampled() => {}
            InstrumentationEvent::StartQuery { query, .. } => {
                self.running = Some(described(&query.to_string()));
            }
            InstrumentationEvent::FinishQuery { error, .. } => {
                if let (Some(span), Some(error)) = (self.running.take(), error) {
                    // No rows is an answer.
                    if !matches!(error, diesel::result::Error::NotFound) {
                        span.record("otel.status_code", "ERROR");
                        span.record("error.type", tracing::field::display(error));
                    }
                }
            }
            _ => {}
        }
    }
}

/// A statement that someone waits for, in a transaction that may do the same for others; until it
/// is dropped.
#[must_use]
pub fn span(text: &str) -> Span {
    if trace_context::is_sampled() {
        described(text)
    } else {
        Span::none()
    }
}

/// `text` is a statement as Diesel shows it, with the values behind it.
fn described(text: &str) -> Span {
    // The values may be anybody's data; the statement is ours.
    let statement = text.split(" -- binds:").next().unwrap_or_default().trim();
    let operation = operation(statement);
    tracing::info_span!(
        "sql",
        otel.name = operation,
        otel.kind = "client",
        otel.status_code = tracing::field::Empty,
        error.type = tracing::field::Empty,
        db.system.name = "postgresql",
        db.query.summary = operation,
        db.query.text = statement.split_whitespace().collect::<Vec<_>>().join(" "),
    )
}

/// What a statement does, and to which table: `UPDATE orders`. A statement that begins with `WITH`
/// is named by its first change.
fn operation(statement: &str) -> String {
    let mut words = statement
        .split_whitespace()
        .map(|word| word.trim_matches(|c: char| "\"(),".contains(c)));
    let verb = words.clone().next().unwrap_or_default();
    let change = match verb {
        "SELECT" => words.find(|word| *word == "FROM").map(|_| "SELECT"),
        _ => words.find(|word| ["INSERT", "UPDATE", "DELETE"].contains(word)),
    };
    let table = words.find(|word| !["INTO", "FROM"].contains(word));
    match (change, table) {
        (Some(change), Some(table)) => format!("{change} {table}"),
        _ => verb.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_named_by_what_they_do_and_to_what() {
        for (statement, name) in [
            (
                "SELECT \"orders\".\"id\" FROM \"orders\" WHERE x",
                "SELECT orders",
            ),
            (
                "INSERT INTO \"reservations\" (a) VALUES ($1)",
                "INSERT reservations",
            ),
            ("UPDATE \"inventory\" SET a = b", "UPDATE inventory"),
            (
                "WITH placed AS (\n INSERT INTO orders (id) VALUES ($1) RETURNING *) SELECT id FROM placed",
                "INSERT orders",
            ),
            (
                "WITH changed AS ( UPDATE orders SET a = 1 RETURNING *), event AS ( INSERT INTO order_events (a) SELECT 1) SELECT 1",
                "UPDATE orders",
            ),
            ("BEGIN", "BEGIN"),
            ("COMMIT", "COMMIT"),
        ] {
            assert_eq!(operation(statement), name, "{statement}");
        }
    }
}
