//! The response of the inventory service, as text and as JSON.

use std::fmt;

use serde::Serialize;

use crate::api::{Delivery, Stock};
use crate::platform::output::printable;
use crate::platform::plural::noun_for;
use crate::platform::text_table::{self, Align};

#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Report {
    Products(Vec<Stock>),
    Delivered(Delivery),
    /// An earlier call made the delivery.
    DeliveredBefore(Delivery),
    Created(Stock),
    /// The product exists already. It was not changed.
    Exists(Stock),
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Products(products) => f.write_str(&table(products)),
            Self::Delivered(delivery) => describe(delivery, "now", f),
            Self::DeliveredBefore(delivery) => {
                writeln!(f, "this delivery was made before; nothing was changed now")?;
                describe(delivery, "then", f)
            }
            Self::Created(product) => {
                let name = printable(&product.product_id);
                write!(f, "created {name}: {} in stock", product.stock)
            }
            Self::Exists(product) => {
                let Stock {
                    product_id,
                    stock,
                    reserved,
                    ..
                } = product;
                let name = printable(product_id);
                write!(
                    f,
                    "{name} exists already, and was not changed: {stock} in stock, {reserved} \
                     reserved"
                )
            }
        }
    }
}

fn describe(delivery: &Delivery, when: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Delivery {
        delivery_id,
        product_id,
        quantity,
        stock,
        reserved,
        ..
    } = delivery;
    let (delivery_id, product_id) = (printable(delivery_id), printable(product_id));
    let units = noun_for(quantity.abs(), "unit");
    write!(
        f,
        "{product_id}: {quantity:+} {units}, {when} {stock} in stock and {reserved} reserved \
         (delivery {delivery_id})"
    )
}

/// A line for each product, with the figures aligned to the right.
fn table(products: &[Stock]) -> String {
    let mut rows = vec![["PRODUCT", "STOCK", "RESERVED", "SHIPPED", "STOCKED"].map(str::to_owned)];
    rows.extend(products.iter().map(|product| {
        let Stock {
            product_id,
            stock,
            reserved,
            shipped,
            stocked,
        } = product;
        let figures = [stock, reserved, shipped, stocked];
        let [stock, reserved, shipped, stocked] = figures.map(i32::to_string);
        [printable(product_id), stock, reserved, shipped, stocked]
    }));
    let right = Align::Right;
    let columns = [Align::Left, right, right, right, right];
    text_table::lines_within(rows, columns, 0, text_table::WIDTH).join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product(product_id: &str, stock: i32) -> Stock {
        Stock {
            product_id: product_id.to_owned(),
            stock,
            reserved: 2,
            shipped: 30,
            stocked: stock + 32,
        }
    }

    #[test]
    fn products_are_aligned_and_control_characters_are_escaped() {
        let report = Report::Products(vec![product("PROD-001", 98), product("\u{1b}[2J", 1000)]);
        let wanted = "\
PRODUCT    STOCK  RESERVED  SHIPPED  STOCKED
PROD-001      98         2       30      130
\\u{1b}[2J   1000         2       30     1032";
        assert_eq!(report.to_string(), wanted);
        let empty = Report::Products(Vec::new());
        assert_eq!(
            empty.to_string(),
            "PRODUCT  STOCK  RESERVED  SHIPPED  STOCKED"
        );
    }

    #[test]
    fn a_list_fits_80_columns_however_long_a_product_is() {
        let mut widest = product(&"x".repeat(255), 0);
        (widest.reserved, widest.shipped) = (2_000_000_000, 2_000_000_000);
        (widest.stock, widest.stocked) = (2_000_000_000, 2_000_000_000);
        let text = Report::Products(vec![widest, product("P", 0)]).to_string();
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        assert!(text.contains("xxx…  2000000000"), "{text}");
    }

    #[test]
    fn a_correction_is_shown_with_its_sign() {
        let delivery = Delivery {
            delivery_id: "D-1".to_owned(),
            product_id: "P".to_owned(),
            quantity: -5,
            stock: 95,
            reserved: 1,
            stocked: 96,
        };
        assert_eq!(
            Report::Delivered(delivery).to_string(),
            "P: -5 units, now 95 in stock and 1 reserved (delivery D-1)"
        );
    }
}
