//! The log as JSON: one object per line. The fields are written directly, without an intermediate
//! value, because each order logs several lines.

use std::fmt::{self, Write};

use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use super::trace_context::{current_span, hex_trace_id};
use crate::platform::timestamp::timestamp;

const ORDER_ID: &str = "order_id";

/// Formats an event as a line with its timestamp, level, service, target, message and fields, the
/// `order_id` of the innermost span that has one, and the ids of the trace and the span.
pub struct JsonLine {
    /// The name of this service.
    pub service: &'static str,
}

impl<S> FormatEvent<S, OrderIdOnly> for JsonLine
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, OrderIdOnly>,
        mut writer: Writer<'_>,
        event: &tracing::Event<'_>,
    ) -> fmt::Result {
        let (level, target) = (event.metadata().level(), event.metadata().target());
        let (timestamp, service) = (timestamp(), self.service);
        write!(writer, r#"{{"timestamp":"{timestamp}","level":"{level}","#)?;
        write!(writer, r#""service":"{service}","target":"{target}""#)?;
        let mut fields = FieldWriter {
            writer: writer.by_ref(),
            has_order_id: false,
            outcome: Ok(()),
        };
        event.record(&mut fields);
        let has_order_id = fields.has_order_id;
        fields.outcome?;
        if !has_order_id {
            for span in context.event_scope().into_iter().flatten() {
                let extensions = span.extensions();
                let recorded = extensions.get::<FormattedFields<OrderIdOnly>>();
                // If several values were recorded, spaces separate them, and the last one counts.
                if let Some(id) = recorded
                    .and_then(|recorded| recorded.fields.split(' ').next_back())
                    .filter(|id| !id.is_empty())
                {
                    write!(writer, r#","{ORDER_ID}":"{id}""#)?;
                    break;
                }
            }
        }
        if let Some(span) = current_span() {
            write!(
                writer,
                r#","trace_id":"{}","span_id":"{}""#,
                hex_trace_id(&span),
                span.span_id()
            )?;
        }
        writer.write_str("}\n")
    }
}

/// Stores only the `order_id` of a span. The other fields are for traces.
pub struct OrderIdOnly;

impl<'w> FormatFields<'w> for OrderIdOnly {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut recorded = OrderIdVisitor {
            writer,
            outcome: Ok(()),
        };
        fields.record(&mut recorded);
        recorded.outcome
    }
}

struct OrderIdVisitor<'w> {
    writer: Writer<'w>,
    outcome: fmt::Result,
}

impl Visit for OrderIdVisitor<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == ORDER_ID {
            self.outcome = write!(Escaped(&mut self.writer), "{value:?}");
        }
    }
}

/// Writes the fields of an event.
struct FieldWriter<'w> {
    writer: Writer<'w>,
    has_order_id: bool,
    outcome: fmt::Result,
}

impl FieldWriter<'_> {
    fn write_value(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        self.has_order_id |= field.name() == ORDER_ID;
        let written = write!(self.writer, r#","{}":{value}"#, field.name());
        self.outcome = self.outcome.and(written);
    }

    fn write_text(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        self.write_value(field, format_args!("\""));
        let written = Escaped(&mut self.writer)
            .write_fmt(value)
            .and_then(|()| self.writer.write_char('"'));
        self.outcome = self.outcome.and(written);
    }
}

impl Visit for FieldWriter<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.write_text(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.write_text(field, format_args!("{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.write_value(field, format_args!("{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.write_value(field, format_args!("{value}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no infinity.
        if value.is_finite() {
            self.write_value(field, format_args!("{value}"));
        } else {
            self.write_value(field, format_args!("null"));
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.write_value(field, format_args!("{value}"));
    }
}

/// Writes text escaped for a JSON string.
struct Escaped<'a, W>(&'a mut W);

impl<W: Write> Write for Escaped<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(position) = rest.find(|c: char| c < ' ' || c == '"' || c == '\\') {
            let (plain, special) = rest.split_at(position);
            self.0.write_str(plain)?;
            let mut characters = special.chars();
            match characters.next() {
                Some('\n') => self.0.write_str("\\n")?,
                Some(quoted @ ('"' | '\\')) => write!(self.0, "\\{quoted}")?,
                Some(control) => write!(self.0, "\\u{:04x}", u32::from(control))?,
                None => {}
            }
            rest = characters.as_str();
        }
        self.0.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_text_is_parsed_as_the_original() {
        for text in [
            "",
            "plain",
            "a \"quoted\" \\ word",
            "line\nline\ttab\r\u{1}\u{7f}",
            "ü€😀",
            "\"",
            "\\",
        ] {
            let mut escaped = String::new();
            Escaped(&mut escaped).write_str(text).unwrap();
            let read: String = serde_json::from_str(&format!("\"{escaped}\"")).unwrap();
            assert_eq!(read, text);
        }
    }
}
