//! A span for each SQL statement, after the conventions of OpenTelemetry for databases.

use diesel::connection::{Instrumentation, InstrumentationEvent};
use tracing::Span;

use crate::platform::observability::trace_context;

/// Makes the spans of one connection, whose statements run one after the other.
#[derive(Default)]
pub struct StatementSpans {
    running: Option<Span>,
}

impl Instrumentation for StatementSpans {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        match event {
            // The span would not be exported, and building its text costs time.
            InstrumentationEvent::StartQuery { .. } if !trace_context::is_sampled() => {}
            InstrumentationEvent::StartQuery { query, .. } => {
                self.running = Some(statement_span(&query.to_string()));
            }
            InstrumentationEvent::FinishQuery { error, .. } => {
                if let (Some(span), Some(error)) = (self.running.take(), error) {
                    // A result without rows is not an error.
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

/// Returns a span for the time in which a caller waits for its item of a batch. `text` is the SQL
/// that it shows. It ends when it is dropped.
#[must_use]
pub fn item_span(text: &str) -> Span {
    if trace_context::is_sampled() {
        statement_span(text)
    } else {
        Span::none()
    }
}

/// Returns the span of a statement. `text` is the statement as Diesel formats it, perhaps followed
/// by its values.
fn statement_span(text: &str) -> Span {
    // The values may be personal data, so they are left out.
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

/// Returns the operation and the table of a statement, such as `UPDATE orders`. For a statement
/// that starts with `WITH`, it is the first change in it.
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
    fn statements_are_named_by_operation_and_table() {
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
                "WITH placed AS (\n INSERT INTO orders (id) VALUES ($1) RETURNING *)
                 SELECT id FROM placed",
                "INSERT orders",
            ),
            (
                "WITH changed AS ( UPDATE orders SET a = 1 RETURNING *),
                 event AS ( INSERT INTO order_events (a) SELECT 1) SELECT 1",
                "UPDATE orders",
            ),
            ("BEGIN", "BEGIN"),
            ("COMMIT", "COMMIT"),
        ] {
            assert_eq!(operation(statement), name, "{statement}");
        }
    }
}
