//! Reads an audit in one transaction, so that all invariants see one snapshot.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::error::AuditError;
use super::invariants;
use super::report::{
    Audit, HoldWithoutOrder, Invariant, MAX_EXAMPLES, MAX_HOLDS, Orders, Product, is_clean,
};
use super::session::TimeLimit;
use crate::platform::db::DatabaseError;

/// Added to the recovery bound: recovery needs some time to fail an order that has passed the
/// bound, and to settle it.
const BOUND_MARGIN: Duration = Duration::from_secs(60);

#[derive(QueryableByName)]
struct Finding {
    #[diesel(sql_type = BigInt)]
    checked: i64,
    #[diesel(sql_type = BigInt)]
    violations: i64,
    #[diesel(sql_type = Array<Text>)]
    examples: Vec<String>,
}

/// Checks all invariants. `at` is when the snapshot was taken.
///
/// # Errors
/// Those of the database.
pub async fn read(
    connection: &mut AsyncPgConnection,
    bound: Duration,
    at: DateTime<Utc>,
    limit: TimeLimit,
) -> Result<Audit, AuditError> {
    let bound = (bound + BOUND_MARGIN).as_secs();
    let mut invariants = Vec::new();
    for query in invariants::all() {
        limit.apply(connection).await?;
        let statement = diesel::sql_query(query.statement(bound, MAX_EXAMPLES));
        let Finding {
            checked,
            violations,
            examples,
        } = statement.get_result(connection).await?;
        invariants.push(Invariant {
            name: query.name.to_owned(),
            meaning: query.meaning.to_owned(),
            checked,
            violations,
            examples,
        });
    }
    limit.apply(connection).await?;
    let products = products(connection).await?;
    let orders = orders(connection).await?;
    let holds_without_order = holds_without_order(connection, Some(MAX_HOLDS)).await?;
    Ok(Audit {
        at,
        clean: is_clean(&invariants),
        invariants,
        products,
        orders,
        holds_without_order,
    })
}

async fn products(connection: &mut AsyncPgConnection) -> Result<Vec<Product>, DatabaseError> {
    let statement = "
        SELECT product_id::text, COALESCE(stocked, 0)::bigint AS stocked,
               COALESCE(stock, 0)::bigint AS available,
               COALESCE(reserved, 0)::bigint AS reserved,
               COALESCE(shipped, 0)::bigint AS shipped, COALESCE(held, 0)::bigint AS held
        FROM inventory LEFT JOIN (
            SELECT product_id, sum(quantity) AS held FROM reservations
            WHERE state = 'HELD' GROUP BY product_id) r USING (product_id)
        ORDER BY product_id LIMIT 100";
    Ok(diesel::sql_query(statement).load(connection).await?)
}

async fn orders(connection: &mut AsyncPgConnection) -> Result<Orders, DatabaseError> {
    let statement = "
        SELECT count(*) AS total,
               count(*) FILTER (WHERE status = 'CONFIRMED') AS confirmed,
               count(*) FILTER (WHERE status = 'FAILED') AS failed,
               count(*) FILTER (WHERE status NOT IN ('CONFIRMED', 'FAILED')
                                OR release_owed_epoch IS NOT NULL OR refund_owed
                                OR shipment_owed) AS unsettled,
               (SELECT count(*) FROM leaving_orders) AS leaving,
               (SELECT count(*) FROM reservations r WHERE state = 'HELD'
                  AND NOT EXISTS (SELECT FROM orders o WHERE o.id = r.order_id)
               ) AS reservations_without_order
        FROM orders";
    Ok(diesel::sql_query(statement).get_result(connection).await?)
}

/// Reads the held reservations whose order is not in the snapshot, by order id; all of them without
/// a limit.
///
/// # Errors
/// Those of the database.
pub async fn holds_without_order(
    connection: &mut AsyncPgConnection,
    limit: Option<usize>,
) -> Result<Vec<HoldWithoutOrder>, DatabaseError> {
    let limit = limit.map_or_else(String::new, |limit| format!("LIMIT {limit}"));
    let statement = format!(
        "SELECT order_id, COALESCE(product_id, '')::text AS product_id,
                COALESCE(quantity, 0)::bigint AS quantity
         FROM reservations r
         WHERE state = 'HELD' AND NOT EXISTS (SELECT FROM orders o WHERE o.id = r.order_id)
         ORDER BY order_id {limit}"
    );
    Ok(diesel::sql_query(statement).load(connection).await?)
}
