//! Reads the events of orders: those of one order, and the changes of all orders for the live
//! stream.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{
    Array, BigInt, Bool, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::Value;
use uuid::Uuid;

use super::position::{Key, Position};
use super::snapshot::{InvalidSnapshot, Snapshot};
use crate::api::{FailureReason, OrderStatus};
use crate::order::schema::order_events;
use crate::platform::db::{DatabaseError, Stored};

#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = order_events)]
pub struct EventRow {
    pub at: DateTime<Utc>,
    pub status: Stored<OrderStatus>,
    pub reason: String,
    /// That of the attempt that made the change.
    pub epoch: i32,
    pub trace_id: Option<String>,
    pub steps: Value,
}

/// The events of an order, oldest first.
///
/// # Errors
/// Those of the database.
pub async fn events(
    connection: &mut AsyncPgConnection,
    order_id: Uuid,
) -> Result<Vec<EventRow>, DatabaseError> {
    let of_order = order_events::table
        .filter(order_events::order_id.eq(order_id))
        .order(order_events::id)
        .select(EventRow::as_select());
    Ok(of_order.load(connection).await?)
}

/// An event, with the columns of its order that the live stream shows.
#[derive(Debug, QueryableByName)]
pub struct ChangeRow {
    #[diesel(sql_type = BigInt)]
    pub xid: i64,
    #[diesel(sql_type = BigInt)]
    pub id: i64,
    #[diesel(sql_type = Timestamptz)]
    pub at: DateTime<Utc>,
    #[diesel(sql_type = Text)]
    pub status: Stored<OrderStatus>,
    #[diesel(sql_type = Text)]
    pub reason: String,
    #[diesel(sql_type = Integer)]
    pub epoch: i32,
    #[diesel(sql_type = Nullable<Text>)]
    pub trace_id: Option<String>,
    #[diesel(sql_type = SqlUuid)]
    pub order_id: Uuid,
    #[diesel(sql_type = Text)]
    pub product_id: String,
    #[diesel(sql_type = Integer)]
    pub quantity: i32,
    /// As the order has it now, which can be later than the event.
    #[diesel(sql_type = Nullable<Text>)]
    pub failure_reason: Option<Stored<FailureReason>>,
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
}

impl ChangeRow {
    #[must_use]
    pub fn key(&self) -> Key {
        Key {
            xid: self.xid,
            id: self.id,
        }
    }
}

#[derive(QueryableByName)]
struct SnapshotRow {
    #[diesel(sql_type = Text)]
    snapshot: String,
}

/// The database's current snapshot.
///
/// # Errors
/// Those of the database.
pub async fn current_snapshot(
    connection: &mut AsyncPgConnection,
) -> Result<Snapshot, DatabaseError> {
    let row: SnapshotRow = sql_query("SELECT pg_current_snapshot()::text AS snapshot")
        .get_result(connection)
        .await?;
    row.snapshot
        .parse()
        .map_err(|error: InvalidSnapshot| DatabaseError::Internal(error.to_string()))
}

#[derive(QueryableByName)]
struct KeyRow {
    #[diesel(sql_type = BigInt)]
    xid: i64,
    #[diesel(sql_type = BigInt)]
    id: i64,
}

/// The position that contains every event that the snapshot sees.
///
/// # Errors
/// Those of the database.
pub async fn position_at(
    connection: &mut AsyncPgConnection,
    snapshot: &Snapshot,
) -> Result<Position, DatabaseError> {
    let statement = "
        SELECT xid::text::bigint AS xid, id FROM order_events
        WHERE xid < pg_snapshot_xmax($1::pg_snapshot)
            AND pg_visible_in_snapshot(xid, $1::pg_snapshot)
        ORDER BY order_events.xid DESC, id DESC LIMIT 1";
    let newest: Option<KeyRow> = sql_query(statement)
        .bind::<Text, _>(snapshot.as_str())
        .get_result(connection)
        .await
        .optional()?;
    let newest = newest.map(|KeyRow { xid, id }| Key { xid, id });
    Ok(Position::of(snapshot, newest.unwrap_or_default()))
}

// Diesel has no type for xid8, so transactions are passed as text. Each range is a scan of the
// primary key of order_events. The LIMIT 1 makes the planner look each order up by its primary
// key. The upper bound of a range keeps each poll from scanning rows that were restored from
// another server's dump: their transactions can be above all that this server's snapshots see.
const CHANGES: &str = "
    WITH missing AS (
        SELECT * FROM unnest($1::xid8[], $2::bigint[], $3::xid8[])
            AS range (after_xid, after_id, before_xid))
    SELECT c.* FROM missing m
    CROSS JOIN LATERAL (
        SELECT e.xid::text::bigint AS xid, e.id, e.at, e.status, e.reason, e.epoch, e.trace_id,
            e.order_id, o.product_id, o.quantity, o.failure_reason, o.created_at
        FROM order_events e
        CROSS JOIN LATERAL (
            SELECT product_id, quantity, failure_reason, created_at
            FROM orders WHERE id = e.order_id LIMIT 1) o
        WHERE (e.xid, e.id) > (m.after_xid, m.after_id) AND e.xid < m.before_xid
            AND pg_visible_in_snapshot(e.xid, $4::pg_snapshot)
        ORDER BY e.xid, e.id LIMIT $5 + $6) c
    ORDER BY c.xid, c.id OFFSET $5 LIMIT $6";

/// The changes that the snapshot sees and the position does not contain, in key order. Leaves out
/// the first `skip` of them, and returns at most `limit`.
///
/// # Errors
/// Those of the database.
pub async fn changes(
    connection: &mut AsyncPgConnection,
    position: &Position,
    snapshot: &Snapshot,
    skip: u32,
    limit: u32,
) -> Result<Vec<ChangeRow>, DatabaseError> {
    let ranges = position.missing(snapshot);
    let after_transactions = ranges.iter().map(|range| range.after.xid.to_string());
    let after_ids = ranges.iter().map(|range| range.after.id);
    let before_transactions = ranges.iter().map(|range| range.before.to_string());
    let query = sql_query(CHANGES)
        .bind::<Array<Text>, _>(after_transactions.collect::<Vec<_>>())
        .bind::<Array<BigInt>, _>(after_ids.collect::<Vec<_>>())
        .bind::<Array<Text>, _>(before_transactions.collect::<Vec<_>>())
        .bind::<Text, _>(snapshot.as_str())
        .bind::<BigInt, _>(i64::from(skip))
        .bind::<BigInt, _>(i64::from(limit));
    Ok(query.load(connection).await?)
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Bool)]
    found: bool,
}

/// Whether events that the position does not contain were deleted.
///
/// Rows that were restored from another server's dump can have transactions above all that this
/// server's snapshots see. They say nothing about a position of this server.
///
/// # Errors
/// Those of the database.
pub async fn has_forgotten_after(
    connection: &mut AsyncPgConnection,
    position: &Position,
    snapshot: &Snapshot,
) -> Result<bool, DatabaseError> {
    let Key { xid, id } = position.first_missing_after();
    let statement = "
        SELECT EXISTS (
            SELECT FROM forgotten_events
            WHERE is_only AND (xid, id) > ($1::xid8, $2) AND xid < $3::xid8) AS found";
    let row: Found = sql_query(statement)
        .bind::<Text, _>(xid.to_string())
        .bind::<BigInt, _>(id)
        .bind::<Text, _>(snapshot.xmax().to_string())
        .get_result(connection)
        .await?;
    Ok(row.found)
}
