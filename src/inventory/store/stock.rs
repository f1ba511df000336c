//! Reads the stock of products, and creates products.

use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::inventory::schema::inventory;
use crate::platform::db::DatabaseError;

#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = inventory)]
pub struct StockRow {
    pub product_id: String,
    pub stock: i32,
    pub reserved: i32,
    pub shipped: i32,
    pub stocked: i32,
}

/// Reads all products, by id.
///
/// # Errors
/// Those of the database.
pub async fn list(connection: &mut AsyncPgConnection) -> Result<Vec<StockRow>, DatabaseError> {
    Ok(inventory::table
        .order(inventory::product_id)
        .select(StockRow::as_select())
        .load(connection)
        .await?)
}

/// Reads one product, if there is one of this id.
///
/// # Errors
/// Those of the database.
pub async fn find(
    connection: &mut AsyncPgConnection,
    product_id: &str,
) -> Result<Option<StockRow>, DatabaseError> {
    Ok(inventory::table
        .find(product_id)
        .select(StockRow::as_select())
        .first(connection)
        .await
        .optional()?)
}

/// The result of a request for a new product.
pub enum Created {
    /// This call created the product.
    Now(StockRow),
    /// The product exists already. It was not changed.
    Before(StockRow),
}

/// Creates a product, unless there is one of this id. A trigger records its stock as a delivery.
///
/// # Errors
/// Those of the database.
pub async fn create(
    connection: &mut AsyncPgConnection,
    product_id: &str,
    stock: i32,
) -> Result<Created, DatabaseError> {
    // Ends after the second statement, unless the product is deleted by hand in between.
    loop {
        let product = (
            inventory::product_id.eq(product_id),
            inventory::stock.eq(stock),
        );
        let inserted: Vec<StockRow> = diesel::insert_into(inventory::table)
            .values(product)
            .on_conflict(inventory::product_id)
            .do_nothing()
            .returning(StockRow::as_returning())
            .load(connection)
            .await?;
        if let Some(row) = inserted.into_iter().next() {
            return Ok(Created::Now(row));
        }
        if let Some(row) = find(connection, product_id).await? {
            return Ok(Created::Before(row));
        }
    }
}
