//! The figures of a run: the rows that it has deleted, or would delete.

use std::fmt;

use serde::Serialize;

use crate::api::RetentionStepDone;
use crate::platform::output::wrapped;
use crate::platform::plural::count;
use crate::platform::text_table;

/// The sum of a run's steps.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    pub dry_run: bool,
    pub orders: i64,
    pub events: i64,
    pub reservations: i64,
    pub payments: i64,
    /// Size of these rows, without their indexes.
    pub bytes: i64,
    /// Orders that stay, because a row of inventory or payment contradicts how they ended.
    pub refused: i64,
    /// Orders that could not leave, because inventory or payment did not answer.
    pub waiting: i64,
}

impl Report {
    #[must_use]
    pub fn new(dry_run: bool) -> Self {
        Self {
            dry_run,
            ..Self::default()
        }
    }

    pub fn add(&mut self, done: &RetentionStepDone) {
        self.orders += done.orders;
        self.events += done.events;
        self.reservations += done.reservations;
        self.payments += done.payments;
        self.bytes += done.bytes;
        self.refused += done.refused;
        self.waiting += done.waiting;
    }

    /// Whether the step that was added last has passed a multiple of `orders`.
    #[must_use]
    pub const fn passed(&self, orders: i64, last: &RetentionStepDone) -> bool {
        self.orders / orders > (self.orders - last.orders) / orders
    }

    #[must_use]
    pub fn progress(&self) -> String {
        let verb = if self.dry_run { "counted" } else { "deleted" };
        format!("{} {verb}", count(self.orders, "order"))
    }

    /// Whether no order stays that should leave.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.refused == 0 && self.waiting == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            dry_run,
            orders,
            events,
            reservations,
            payments,
            bytes,
            refused,
            waiting,
        } = self;
        let verb = if *dry_run { "would be" } else { "were" };
        let mut lines = wrapped(
            &format!(
                "{}, {}, {} and {} {verb} deleted: {} of rows, without their indexes",
                count(*orders, "order"),
                count(*events, "event"),
                count(*reservations, "reservation"),
                count(*payments, "payment"),
                size(*bytes)
            ),
            text_table::WIDTH,
        );
        if *refused > 0 {
            let stay = if *dry_run { "would stay" } else { "stay" };
            let text = format!(
                "Orders that {stay}: {refused}. A row of inventory or payment contradicts how they \
                 ended. Run `valerix audit`, and repair what it reports."
            );
            lines.extend(wrapped(&text, text_table::WIDTH));
        }
        if *waiting > 0 {
            let text = format!(
                "Orders that wait: {waiting}. Inventory or payment did not answer. They leave with \
                 a later run."
            );
            lines.extend(wrapped(&text, text_table::WIDTH));
        }
        f.write_str(&lines.join("\n"))
    }
}

/// The size in kB or MB.
fn size(bytes: i64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "printed with one decimal")]
    let bytes = bytes as f64;
    if bytes >= 1e6 {
        format!("{:.1} MB", bytes / 1e6)
    } else {
        format!("{:.1} kB", bytes / 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_order_is_named_in_the_singular() {
        let mut report = Report::new(true);
        report.add(&RetentionStepDone {
            orders: 1,
            events: 2,
            reservations: 1,
            bytes: 700,
            ..RetentionStepDone::default()
        });
        let text = "1 order, 2 events, 1 reservation and 0 payments would be deleted: 0.7 kB \
                    of\nrows, without their indexes";
        assert_eq!(report.to_string(), text);
        assert_eq!(report.progress(), "1 order counted");
    }

    #[test]
    fn a_report_says_what_left_and_what_stays() {
        let mut report = Report::new(false);
        report.add(&RetentionStepDone {
            orders: 3,
            events: 9,
            reservations: 3,
            payments: 2,
            bytes: 2_340,
            ..RetentionStepDone::default()
        });
        let text = "3 orders, 9 events, 3 reservations and 2 payments were deleted: 2.3 kB of \
                    rows,\nwithout their indexes";
        assert_eq!(report.to_string(), text);
        assert!(report.is_complete());
        report.add(&RetentionStepDone {
            refused: 1,
            ..RetentionStepDone::default()
        });
        assert!(!report.is_complete());
        report.waiting = 1_000_000;
        let text = report.to_string();
        assert!(text.contains("\nOrders that stay: 1. "), "{text}");
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
    }
}
