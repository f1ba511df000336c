//! Deletes old orders: finds those that are over, marks them as leaving, and deletes them.

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use diesel::sql_types::{
    Array, BigInt, Bool, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid, Varchar,
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::pagination::Cursor;
use crate::api::OrderStatus;
use crate::domain::retention::Ending;
use crate::platform::db::DatabaseError;

/// The condition of an order that nothing changes any more, as
/// [`Ending::of`](crate::domain::retention::Ending::of) decides it.
const IS_OVER: &str =
    "(o.status = 'FAILED' OR o.status = 'CONFIRMED' AND o.fulfilled_at IS NOT NULL)
     AND o.release_owed_epoch IS NULL AND NOT o.refund_owed AND NOT o.shipment_owed";

/// The orders to look at in one step.
#[derive(Debug, Clone, Copy)]
pub struct RetentionPage {
    pub status: OrderStatus,
    /// Only orders that are newer than this one.
    pub after: Option<Cursor>,
    /// Age of an order's last change.
    pub older_than_days: i32,
    pub limit: i32,
}

/// An order of a page.
#[derive(Debug, QueryableByName)]
pub struct PageRow {
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
    /// Whether the order leaves.
    #[diesel(sql_type = Bool)]
    pub leaves: bool,
    /// Its goods have left. If not, it has failed.
    #[diesel(sql_type = Bool)]
    fulfilled: bool,
}

impl PageRow {
    #[must_use]
    pub const fn leaving(&self) -> LeavingOrder {
        LeavingOrder {
            id: self.id,
            ending: ending(self.fulfilled),
        }
    }
}

/// An order that leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeavingOrder {
    pub id: Uuid,
    pub ending: Ending,
}

const fn ending(fulfilled: bool) -> Ending {
    if fulfilled {
        Ending::Fulfilled
    } else {
        Ending::Failed
    }
}

/// The common part of [`find_old`] and [`mark_leaving`]: the page, and those of its orders that
/// leave. The page is read from the index `orders_by_status`, so a step reads at most `limit`
/// orders, even if all of them stay.
fn page() -> String {
    format!(
        "WITH page AS MATERIALIZED (
             SELECT id, created_at FROM orders
             WHERE status = $1 AND (created_at, id) > ($2, $3)
                 AND created_at < now() - $4 * interval '1 day'
             ORDER BY created_at, id LIMIT $5),
         leaving AS MATERIALIZED (
             SELECT o.id, o.fulfilled_at IS NOT NULL AS fulfilled FROM orders o
             WHERE o.id = ANY (ARRAY (SELECT id FROM page)) AND {IS_OVER}
                 AND o.updated_at < now() - $4 * interval '1 day')"
    )
}

/// Finds the orders of a page that are old and over, also those that are marked already. Changes
/// nothing.
///
/// # Errors
/// Those of the database.
pub async fn find_old(
    connection: &mut AsyncPgConnection,
    page_of: &RetentionPage,
) -> Result<Vec<PageRow>, DatabaseError> {
    let statement = format!(
        "{}
         SELECT page.id, page.created_at, leaving.id IS NOT NULL AS leaves,
             COALESCE(leaving.fulfilled, false) AS fulfilled
         FROM page LEFT JOIN leaving USING (id) ORDER BY page.created_at, page.id",
        page()
    );
    Ok(of_page(page_of, statement).load(connection).await?)
}

/// Marks the orders of a page that are old and over as leaving. Other steps do not touch them for
/// `lease_seconds`. Takes no lock of an order: nothing changes the state of such an order any more.
///
/// # Errors
/// Those of the database.
pub async fn mark_leaving(
    connection: &mut AsyncPgConnection,
    page_of: &RetentionPage,
    lease_seconds: i32,
) -> Result<Vec<PageRow>, DatabaseError> {
    let statement = format!(
        "{},
         marked AS (
             INSERT INTO leaving_orders (order_id, next_attempt_at)
             SELECT id, now() + $6 * interval '1 second' FROM leaving ORDER BY id
             ON CONFLICT DO NOTHING
             RETURNING order_id AS id)
         SELECT page.id, page.created_at, marked.id IS NOT NULL AS leaves,
             COALESCE(leaving.fulfilled, false) AS fulfilled
         FROM page LEFT JOIN leaving USING (id) LEFT JOIN marked USING (id)
         ORDER BY page.created_at, page.id",
        page()
    );
    let query = of_page(page_of, statement).bind::<Integer, _>(lease_seconds);
    Ok(query.load(connection).await?)
}

/// A statement about a page. Its parameters $1 to $5 say which page that is.
fn of_page(page_of: &RetentionPage, statement: String) -> BoxedSqlQuery<'_, Pg, SqlQuery> {
    let Cursor { created_at, id } = page_of.after.unwrap_or(Cursor {
        created_at: DateTime::default(),
        id: Uuid::nil(),
    });
    diesel::sql_query(statement)
        .into_boxed()
        .bind::<Varchar, _>(page_of.status.as_str())
        .bind::<Timestamptz, _>(created_at)
        .bind::<SqlUuid, _>(id)
        .bind::<Integer, _>(page_of.older_than_days)
        .bind::<Integer, _>(page_of.limit)
}

#[derive(QueryableByName)]
struct ClaimedRow {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Nullable<Bool>)]
    fulfilled: Option<bool>,
}

/// Takes over leaving orders that an earlier step did not finish, and whose next attempt is due.
/// Other steps do not touch them for `lease_seconds`.
///
/// # Errors
/// Those of the database.
pub async fn claim_leaving(
    connection: &mut AsyncPgConnection,
    limit: i32,
    lease_seconds: i32,
) -> Result<Vec<LeavingOrder>, DatabaseError> {
    let statement = "
        WITH claimed AS (
            UPDATE leaving_orders SET next_attempt_at = now() + $2 * interval '1 second'
            WHERE order_id = ANY (ARRAY (
                SELECT order_id FROM leaving_orders WHERE next_attempt_at <= now()
                ORDER BY next_attempt_at LIMIT $1 FOR UPDATE SKIP LOCKED))
            RETURNING order_id)
        SELECT order_id AS id, (
            SELECT fulfilled_at IS NOT NULL FROM orders WHERE id = order_id) AS fulfilled
        FROM claimed ORDER BY order_id";
    let rows: Vec<ClaimedRow> = diesel::sql_query(statement)
        .bind::<Integer, _>(limit)
        .bind::<Integer, _>(lease_seconds)
        .load(connection)
        .await?;
    let leaving = rows.into_iter().map(|row| LeavingOrder {
        id: row.id,
        ending: ending(row.fulfilled.unwrap_or_default()),
    });
    Ok(leaving.collect())
}

/// Stores that a service refuses to delete its row of these orders, and when to try again.
///
/// # Errors
/// Those of the database.
pub async fn store_refusals(
    connection: &mut AsyncPgConnection,
    refusals: &[(Uuid, String)],
    retry_after_seconds: i32,
) -> Result<(), DatabaseError> {
    let statement = "
        UPDATE leaving_orders l SET refusal = input.refusal,
            next_attempt_at = now() + $3 * interval '1 second'
        FROM unnest($1, $2) AS input (order_id, refusal)
        WHERE l.order_id = input.order_id AND l.order_id = ANY ($1)";
    let (ids, texts): (Vec<Uuid>, Vec<&str>) = refusals
        .iter()
        .map(|(id, text)| (*id, text.as_str()))
        .unzip();
    diesel::sql_query(statement)
        .bind::<Array<SqlUuid>, _>(ids)
        .bind::<Array<Text>, _>(texts)
        .bind::<Integer, _>(retry_after_seconds)
        .execute(connection)
        .await?;
    Ok(())
}

/// Counts the leaving orders whose rows a service refuses to delete.
///
/// # Errors
/// Those of the database.
pub async fn count_refused(connection: &mut AsyncPgConnection) -> Result<i64, DatabaseError> {
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        orders: i64,
    }
    let statement = "SELECT count(*) AS orders FROM leaving_orders WHERE refusal IS NOT NULL";
    let count: Count = diesel::sql_query(statement).get_result(connection).await?;
    Ok(count.orders)
}

/// Rows of the order service, and their size without indexes.
#[derive(Debug, Clone, Copy, Default, QueryableByName)]
pub struct OrderRows {
    #[diesel(sql_type = BigInt)]
    pub orders: i64,
    #[diesel(sql_type = BigInt)]
    pub events: i64,
    #[diesel(sql_type = BigInt)]
    pub bytes: i64,
}

/// Counts the rows of these orders.
///
/// # Errors
/// Those of the database.
pub async fn count_rows(
    connection: &mut AsyncPgConnection,
    ids: &[Uuid],
) -> Result<OrderRows, DatabaseError> {
    let statement = "
        SELECT orders.rows AS orders, events.rows AS events, orders.bytes + events.bytes AS bytes
        FROM (SELECT count(*) AS rows, COALESCE(sum(pg_column_size(o.*)), 0)::bigint AS bytes
              FROM orders o WHERE id = ANY ($1)) orders,
             (SELECT count(*) AS rows, COALESCE(sum(pg_column_size(e.*)), 0)::bigint AS bytes
              FROM order_events e WHERE order_id = ANY ($1)) events";
    let query = diesel::sql_query(statement).bind::<Array<SqlUuid>, _>(ids);
    Ok(query.get_result(connection).await?)
}

/// Deletes orders that are leaving, with their events and marks, in one statement. The rows of
/// inventory and payment must be deleted. An order that is not over stays, and is unmarked.
///
/// # Errors
/// Those of the database.
pub async fn delete_orders(
    connection: &mut AsyncPgConnection,
    ids: &[Uuid],
) -> Result<OrderRows, DatabaseError> {
    let statement = format!(
        "WITH unmarked AS (DELETE FROM leaving_orders WHERE order_id = ANY ($1)),
         deleted AS (
             DELETE FROM orders o WHERE o.id = ANY ($1) AND {IS_OVER}
             RETURNING o.id, pg_column_size(o.*) AS bytes),
         events AS (
             DELETE FROM order_events e
             WHERE e.order_id = ANY (ARRAY (SELECT id FROM deleted))
             RETURNING e.xid, e.id, pg_column_size(e.*) AS bytes),
         newest AS (
             INSERT INTO forgotten_events AS f (xid, id)
             SELECT xid, id FROM events ORDER BY xid DESC, id DESC LIMIT 1
             ON CONFLICT (is_only) DO UPDATE SET xid = EXCLUDED.xid, id = EXCLUDED.id
             WHERE (f.xid, f.id) < (EXCLUDED.xid, EXCLUDED.id))
         SELECT orders.rows AS orders, events.rows AS events, orders.bytes + events.bytes AS bytes
         FROM (SELECT count(*) AS rows, COALESCE(sum(bytes), 0)::bigint AS bytes
               FROM deleted) orders,
              (SELECT count(*) AS rows, COALESCE(sum(bytes), 0)::bigint AS bytes
               FROM events) events"
    );
    let query = diesel::sql_query(statement).bind::<Array<SqlUuid>, _>(ids);
    Ok(query.get_result(connection).await?)
}
