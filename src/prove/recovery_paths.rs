//! How often recovery took each of the paths on which it can finish what a request has left.

use std::collections::BTreeMap;

use tokio_postgres::Client;

/// Each path with the SQL condition on the event `e` that ends it.
const PATHS: &[(&str, &str)] = &[
    (
        "pending-confirmed",
        "reason = 'confirmed' AND epoch > 1 AND NOT EXISTS (
            SELECT FROM order_events b WHERE b.order_id = e.order_id
            AND b.status IN ('PENDING_INVENTORY', 'PENDING_PAYMENT'))",
    ),
    (
        "pending-inventory-confirmed",
        "reason = 'confirmed' AND epoch > 1 AND EXISTS (
            SELECT FROM order_events b WHERE b.order_id = e.order_id
            AND b.status = 'PENDING_INVENTORY')",
    ),
    (
        "pending-payment-confirmed",
        "reason = 'confirmed' AND epoch > 1 AND EXISTS (
            SELECT FROM order_events b WHERE b.order_id = e.order_id
            AND b.status = 'PENDING_PAYMENT')",
    ),
    ("declined-late", "reason = 'payment-declined' AND epoch > 1"),
    (
        "out-of-stock-late",
        "reason = 'insufficient-stock' AND epoch > 1",
    ),
    (
        "released-by-recovery",
        "reason = 'stock-returned' AND epoch > 1",
    ),
    (
        "refunded-by-recovery",
        "reason IN ('payment-refunded', 'charge-forbidden', 'nothing-charged') AND epoch > 1",
    ),
];

/// Counts the events that end each path.
///
/// # Errors
/// When the database does not answer.
pub async fn count(client: &Client) -> Result<BTreeMap<String, i64>, tokio_postgres::Error> {
    let mut counts = BTreeMap::new();
    for (path, condition) in PATHS {
        let statement = format!("SELECT count(*) FROM order_events e WHERE {condition}");
        let row = client.query_one(&statement, &[]).await?;
        counts.insert((*path).to_owned(), row.get(0));
    }
    Ok(counts)
}
