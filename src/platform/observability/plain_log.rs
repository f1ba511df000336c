//! The log for people: one short line per event.

use std::fmt;

use tracing::Level;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::trace_context::current_span;

/// Formats an event as a line with its time, level, message and fields, and the first 8 digits of
/// the trace id. Where colours are supported, each level has its own.
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
        let time = chrono::Local::now().format("%H:%M:%S%.3f");
        let level = *event.metadata().level();
        if writer.has_ansi_escapes() {
            let colour = colour_of(level);
            write!(
                writer,
                "\x1b[2m{time}\x1b[0m \x1b[{colour}m{level:>5}\x1b[0m "
            )?;
        } else {
            write!(writer, "{time} {level:>5} ")?;
        }
        context.format_fields(writer.by_ref(), event)?;
        if let Some(span) = current_span() {
            write!(writer, " trace={:.8}", span.trace_id().to_string())?;
        }
        writeln!(writer)
    }
}

/// The code of a level's colour on a terminal: red, yellow, green, blue or magenta.
const fn colour_of(level: Level) -> &'static str {
    match level {
        Level::ERROR => "31",
        Level::WARN => "33",
        Level::INFO => "32",
        Level::DEBUG => "34",
        Level::TRACE => "35",
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn line_of_a_warning(is_coloured: bool) -> String {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(is_coloured)
            .with_writer(move || writer.clone())
            .event_format(PlainLine)
            .finish();
        tracing::subscriber::with_default(subscriber, || tracing::warn!("a breaker opened"));
        String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_level_has_a_colour_only_where_colours_are_supported() {
        let coloured = line_of_a_warning(true);
        assert!(
            coloured.contains("\u{1b}[33m WARN\u{1b}[0m a breaker"),
            "{coloured}"
        );
        let plain = line_of_a_warning(false);
        assert!(plain.contains("  WARN a breaker opened"), "{plain}");
        assert!(!plain.contains('\u{1b}'), "{plain}");
    }
}
