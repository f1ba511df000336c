//! Deliveries of stock, and corrections of it.

use diesel::prelude::*;
use diesel::sql_types::{Integer, Varchar};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::stock;
use crate::api::{Delivery, MAX_STOCK};
use crate::inventory::requests::{DeliveryOutcome, DeliveryRequest};
use crate::inventory::schema::deliveries;
use crate::platform::db::DatabaseError;
use crate::platform::db::unnest_query::{BatchStatement, UnnestQuery, array};

#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = deliveries)]
struct DeliveryRow {
    product_id: String,
    quantity: i32,
    stock: i32,
    reserved: i32,
    stocked: i32,
}

impl DeliveryRow {
    fn into_delivery(self, delivery_id: String) -> Delivery {
        let Self {
            product_id,
            quantity,
            stock,
            reserved,
            stocked,
        } = self;
        Delivery {
            delivery_id,
            product_id,
            quantity,
            stock,
            reserved,
            stocked,
        }
    }
}

/// Makes a delivery, unless there is one of this id.
///
/// Only one guarded statement changes anything. The reads after it explain why it changed nothing.
///
/// # Errors
/// Those of the database. Repeating the delivery is safe.
pub async fn deliver(
    connection: &mut AsyncPgConnection,
    request: &DeliveryRequest,
) -> Result<DeliveryOutcome, DatabaseError> {
    loop {
        match move_stock(connection, request).await {
            Ok(Some(delivery)) => return Ok(DeliveryOutcome::Made(delivery)),
            Ok(None) => {}
            // Another session made a delivery of this id in the meantime. It is found now.
            Err(error) if error.violates("deliveries_pkey") => {}
            Err(error) => return Err(error),
        }
        if let Some(outcome) = explain(connection, request).await? {
            return Ok(outcome);
        }
        // The product has changed since the statement, and the delivery is possible now.
    }
}

/// Moves the stock and records the delivery, if the product has room or enough for it, and no
/// delivery has this id. A second delivery of the same id that runs at the same time violates the
/// primary key, and then changes nothing.
struct MoveStock;

impl BatchStatement for MoveStock {
    const COLUMNS: &'static str = "delivery_id, product_id, quantity";
    // In bigint, because a sum could overflow before it is compared. The bound is `MAX_STOCK`.
    const TEXT: &'static str = ",
        moved AS (
            UPDATE inventory i SET stock = i.stock + quantity, stocked = i.stocked + quantity
            FROM input
            WHERE i.product_id = input.product_id AND i.product_id = ANY ($2)
                AND i.stock::bigint + quantity BETWEEN 0 AND 2000000000
                AND i.stocked::bigint + quantity BETWEEN 0 AND 2000000000
                AND delivery_id <> ALL (ARRAY (
                    SELECT delivery_id FROM deliveries WHERE delivery_id = ANY ($1)))
            RETURNING delivery_id, i.product_id, quantity, i.stock, i.reserved, i.stocked)
        INSERT INTO deliveries (delivery_id, product_id, quantity, stock, reserved, stocked)
        SELECT * FROM moved
        RETURNING stock, reserved, stocked";
    type Returns = (Integer, Integer, Integer);
}

async fn move_stock(
    connection: &mut AsyncPgConnection,
    request: &DeliveryRequest,
) -> Result<Option<Delivery>, DatabaseError> {
    let DeliveryRequest {
        delivery_id,
        product_id,
        quantity,
    } = request;
    let moved: Vec<(i32, i32, i32)> = UnnestQuery::<MoveStock, _>::new((
        array::<Varchar, _>(vec![delivery_id.as_str()]),
        array::<Varchar, _>(vec![product_id.as_str()]),
        array::<Integer, _>(vec![*quantity]),
    ))
    .load(connection)
    .await?;
    let figures = moved.into_iter().next();
    Ok(figures.map(|(stock, reserved, stocked)| Delivery {
        delivery_id: delivery_id.clone(),
        product_id: product_id.clone(),
        quantity: *quantity,
        stock,
        reserved,
        stocked,
    }))
}

/// Returns why the delivery was not made; `None` if it is possible now.
async fn explain(
    connection: &mut AsyncPgConnection,
    request: &DeliveryRequest,
) -> Result<Option<DeliveryOutcome>, DatabaseError> {
    let known: Option<DeliveryRow> = deliveries::table
        .find(&request.delivery_id)
        .select(DeliveryRow::as_select())
        .first(connection)
        .await
        .optional()?;
    if let Some(row) = known {
        let is_same = (&row.product_id, row.quantity) == (&request.product_id, request.quantity);
        return Ok(Some(if is_same {
            DeliveryOutcome::MadeBefore(row.into_delivery(request.delivery_id.clone()))
        } else {
            DeliveryOutcome::OtherPayload
        }));
    }
    let Some(product) = stock::find(connection, &request.product_id).await? else {
        return Ok(Some(DeliveryOutcome::UnknownProduct));
    };
    let after = |units: i32| i64::from(units) + i64::from(request.quantity);
    let (stock, stocked) = (after(product.stock), after(product.stocked));
    Ok(if stock < 0 || stocked < 0 {
        Some(DeliveryOutcome::InsufficientStock {
            stock: product.stock,
        })
    } else if stock.max(stocked) > i64::from(MAX_STOCK) {
        Some(DeliveryOutcome::TooMuchStock)
    } else {
        None
    })
}
