//! The log for people: one short line per event.

use std::fmt;

use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::trace_context::current_span;

/// Formats an event as a line with its time, level, message and fields, and the first 8 digits of
/// the trace id.
pub struct PlainLine;

impl<S, N> FormatEvent<S, N> for PlainLine
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &tracing::Event<'_>,
    ) -> fmt::Result {
        write!(
            writer,
            "{} {:>5} ",
            chrono::Local::now().format("%H:%M:%S%.3f"),
            event.metadata().level()
        )?;
        context.format_fields(writer.by_ref(), event)?;
        if let Some(span) = current_span() {
            write!(writer, " trace={:.8}", span.trace_id().to_string())?;
        }
        writeln!(writer)
    }
}
