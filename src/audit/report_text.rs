//! The result of an audit as text, for terminals.

use std::fmt;

use super::report::{Audit, HoldWithoutOrder, Invariant, Orders, Product, to_i64, violated};
use crate::platform::output::{printable, wrapped};
use crate::platform::plural::{count, is_or_are};
use crate::platform::text_table::{self, Align};

const INDENT: &str = "  ";

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.orders.fmt(f)?;
        for line in product_lines(&self.products) {
            writeln!(f, "{INDENT}{line}")?;
        }
        for (invariant, line) in self
            .invariants
            .iter()
            .zip(invariant_lines(&self.invariants))
        {
            writeln!(f, "{line}")?;
            invariant.fmt_violations(f)?;
        }
        self.fmt_holds(f)?;
        if self.clean {
            return write!(f, "No invariant is violated.");
        }
        let violated = violated(&self.invariants);
        let total = self.invariants.len();
        write!(
            f,
            "{violated} of {} {} violated.",
            count(total, "invariant"),
            is_or_are(violated)
        )
    }
}

/// A line of titles, and a line for each product.
fn product_lines(products: &[Product]) -> Vec<String> {
    if products.is_empty() {
        return Vec::new();
    }
    let titles = [
        "product",
        "stocked",
        "available",
        "reserved",
        "shipped",
        "held",
    ];
    let mut rows = vec![titles.map(str::to_owned)];
    rows.extend(products.iter().map(|product| {
        let Product {
            product_id,
            stocked,
            available,
            reserved,
            shipped,
            held,
        } = product;
        let figures = [stocked, available, reserved, shipped, held];
        let [stocked, available, reserved, shipped, held] = figures.map(i64::to_string);
        [
            printable(product_id),
            stocked,
            available,
            reserved,
            shipped,
            held,
        ]
    }));
    let mut columns = [Align::Right; 6];
    columns[0] = Align::Left;
    text_table::lines_within(rows, columns, 0, text_table::WIDTH - INDENT.len())
}

/// A line for each invariant, without its violations.
fn invariant_lines(invariants: &[Invariant]) -> Vec<String> {
    let figures = invariants
        .iter()
        .map(|invariant| invariant.checked.to_string());
    let width = figures.map(|figure| figure.len()).max().unwrap_or(0);
    let rows = invariants.iter().map(|invariant| {
        let mark = if invariant.violations == 0 {
            "✓"
        } else {
            "✗"
        };
        let name = printable(&invariant.name);
        let violations = count(invariant.violations, "violation");
        let checked = format!("{:>width$} checked, {violations}", invariant.checked);
        [format!("{mark} {name}"), checked]
    });
    let rows: Vec<_> = rows.collect();
    text_table::lines_within(rows, [Align::Left; 2], 0, text_table::WIDTH)
}

impl Audit {
    fn fmt_holds(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.orders.reservations_without_order;
        if total > 0 {
            // Neither kept nor violated: a client may reserve stock without an order.
            let holds = count(total, "held reservation");
            let holds = format!(
                "{holds} without an order: made directly at the inventory service, or the order \
                 was lost"
            );
            for (number, line) in wrapped(&holds, text_table::WIDTH - 2).iter().enumerate() {
                let mark = if number == 0 { '!' } else { ' ' };
                writeln!(f, "{mark} {line}")?;
            }
        }
        for HoldWithoutOrder {
            order_id,
            product_id,
            quantity,
        } in &self.holds_without_order
        {
            let hold = format!("order {order_id}: {quantity} of {}", printable(product_id));
            fmt_item(f, &hold)?;
        }
        let listed = to_i64(self.holds_without_order.len());
        if listed > 0 && listed < total {
            writeln!(f, "    … and more: these are the first {listed}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Orders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            total,
            confirmed,
            failed,
            unsettled,
            leaving,
            ..
        } = self;
        write!(
            f,
            "{}: {confirmed} confirmed, {failed} failed, {unsettled} not settled yet",
            count(*total, "order")
        )?;
        if *leaving > 0 {
            write!(f, ", {leaving} leaving")?;
        }
        writeln!(f)
    }
}

impl Invariant {
    /// Writes the meaning of the invariant, and examples of its violations, if it has any.
    fn fmt_violations(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            meaning,
            violations,
            examples,
            ..
        } = self;
        if *violations == 0 {
            return Ok(());
        }
        for line in wrapped(
            &format!("violated: {}", printable(meaning)),
            text_table::WIDTH - 4,
        ) {
            writeln!(f, "    {line}")?;
        }
        for example in examples {
            fmt_item(f, &printable(example))?;
        }
        let listed = to_i64(examples.len());
        if listed > 0 && listed < *violations {
            writeln!(f, "    … and {} more", violations - listed)?;
        }
        Ok(())
    }
}

/// An item of a list below a line of the report.
fn fmt_item(f: &mut fmt::Formatter<'_>, item: &str) -> fmt::Result {
    for (number, line) in wrapped(item, text_table::WIDTH - 6).iter().enumerate() {
        let start = if number == 0 { "    - " } else { "      " };
        writeln!(f, "{start}{line}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use uuid::Uuid;

    use super::super::report::is_clean;
    use super::*;

    fn invariant(name: &str, violations: i64, examples: &[&str]) -> Invariant {
        Invariant {
            name: name.to_owned(),
            meaning: "an order has at most one payment".to_owned(),
            checked: 166,
            violations,
            examples: examples.iter().map(ToString::to_string).collect(),
        }
    }

    fn product(product_id: &str, figure: i64) -> Product {
        Product {
            product_id: product_id.to_owned(),
            stocked: figure,
            available: figure,
            reserved: figure,
            shipped: 0,
            held: figure,
        }
    }

    fn audit(invariants: Vec<Invariant>, products: Vec<Product>, holds: i64) -> Audit {
        let hold = |number| HoldWithoutOrder {
            order_id: Uuid::nil(),
            product_id: format!("P\u{202e}-{number}"),
            quantity: 2,
        };
        Audit {
            at: DateTime::UNIX_EPOCH,
            clean: is_clean(&invariants),
            invariants,
            products,
            orders: Orders {
                total: 3,
                confirmed: 2,
                failed: 1,
                unsettled: 0,
                leaving: 0,
                reservations_without_order: holds,
            },
            holds_without_order: (0..holds.min(2)).map(hold).collect(),
        }
    }

    #[test]
    fn an_invariant_is_one_line_and_its_violations_are_listed_below() {
        let kept = invariant("one-payment-per-order", 0, &[]);
        let violated = invariant("states-are-known", 3, &["a", "b"]);
        let one = invariant("one-order-per-key", 1, &["c"]);
        let wanted = "\
3 orders: 2 confirmed, 1 failed, 0 not settled yet
✓ one-payment-per-order  166 checked, 0 violations
✗ states-are-known       166 checked, 3 violations
    violated: an order has at most one payment
    - a
    - b
    … and 1 more
✗ one-order-per-key      166 checked, 1 violation
    violated: an order has at most one payment
    - c
2 of 3 invariants are violated.";
        let audit = audit(vec![kept, violated, one], Vec::new(), 0);
        assert_eq!(audit.to_string(), wanted);
    }

    #[test]
    fn reservations_without_an_order_are_marked_below_the_invariants() {
        let kept = invariant("one-payment-per-order", 0, &[]);
        let wanted = "\
3 orders: 2 confirmed, 1 failed, 0 not settled yet
  product   stocked  available  reserved  shipped  held
  PROD-001        5          5         5        0     5
✓ one-payment-per-order  166 checked, 0 violations
! 3 held reservations without an order: made directly at the inventory service,
  or the order was lost
    - order 00000000-0000-0000-0000-000000000000: 2 of P\\u{202e}-0
    - order 00000000-0000-0000-0000-000000000000: 2 of P\\u{202e}-1
    … and more: these are the first 2
No invariant is violated.";
        let audit = audit(vec![kept], vec![product("PROD-001", 5)], 3);
        assert_eq!(audit.to_string(), wanted);
    }

    #[test]
    fn every_line_fits_80_columns_and_no_text_reaches_the_terminal_unescaped() {
        let long = format!("\u{1b}[2J{}", "x".repeat(250));
        let invariants = vec![
            invariant("confirmed-is-not-refunded", 9_999_999, &[&long]),
            invariant(&"name-".repeat(8), 1, &["a"]),
        ];
        let products = vec![product(&long, 2_000_000_000), product("P", 0)];
        let mut audit = audit(invariants, products, 1);
        audit.holds_without_order[0].product_id = long;
        for line in audit.to_string().lines() {
            assert!(line.chars().count() <= 80, "{line}");
            assert!(!line.contains(char::is_control), "{line:?}");
        }
    }
}
