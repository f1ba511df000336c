//! The stock of the demo's products.

use diesel_async::RunQueryDsl;

use super::error::DemoError;
use crate::platform::db::{DatabaseUrl, migrate};

/// Units of each product.
const UNITS: i32 = 10_000;

/// Migrates a private database, and stocks its products if it is fresh.
///
/// A database is fresh if it has no orders, and if one transaction, that of the migration, made all
/// deliveries. If a start is interrupted before this statement, the next start makes the delivery.
/// No start repeats it.
///
/// # Errors
/// Those of the migration and of the database.
pub async fn stock_fresh_database(url: &DatabaseUrl) -> Result<(), DemoError> {
    migrate(url).await?;
    let statement = format!(
        "WITH missing AS (
            SELECT product_id, {UNITS} - stocked AS units FROM inventory
            WHERE stocked < {UNITS}
                AND NOT EXISTS (SELECT FROM orders)
                AND (SELECT count(DISTINCT created_at) FROM deliveries) = 1),
         moved AS (
            UPDATE inventory i SET stock = stock + units, stocked = stocked + units
            FROM missing WHERE i.product_id = missing.product_id
            RETURNING i.product_id, units, stock, reserved, stocked)
         INSERT INTO deliveries (product_id, quantity, stock, reserved, stocked)
         SELECT product_id, units, stock, reserved, stocked FROM moved"
    );
    let failed = |cause: String| DemoError::Stock { cause };
    let mut connection = url
        .connect()
        .await
        .map_err(|error| failed(error.to_string()))?;
    let stocked = diesel::sql_query(statement).execute(&mut connection).await;
    stocked.map_err(|error| failed(error.to_string()))?;
    Ok(())
}
