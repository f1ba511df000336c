//! Reads the stock of products.

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
