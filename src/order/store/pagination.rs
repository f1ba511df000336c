//! Lists orders page by page, newest first.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, BigInt, Timestamptz, Uuid as SqlUuid, Varchar};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::order_row::OrderRow;
use crate::api::OrderStatus;
use crate::platform::db::DatabaseError;

/// The latest time in a cursor: the highest number of microseconds with 16 digits, in the year
/// 2286. The API describes a cursor by a pattern with the same limit.
const MAX_MICROS: i64 = 9_999_999_999_999_999;

/// The last order of a page. The next page begins with the next older order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    pub created_at: DateTime<Utc>,
    pub id: Uuid,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}-{}",
            self.created_at.timestamp_micros(),
            self.id.simple()
        )
    }
}

/// A text that no page has returned as its `next_cursor`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be the next_cursor of a page")]
pub struct InvalidCursor;

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let (micros, id) = text.rsplit_once('-').ok_or(InvalidCursor)?;
        let micros = micros
            .parse()
            .ok()
            .filter(|micros| (0..=MAX_MICROS).contains(micros));
        let created_at = micros.and_then(DateTime::from_timestamp_micros);
        let cursor = Self {
            created_at: created_at.ok_or(InvalidCursor)?,
            id: Uuid::try_parse(id).map_err(|_| InvalidCursor)?,
        };
        // Only the text that `Display` writes is valid.
        if cursor.to_string() == text {
            Ok(cursor)
        } else {
            Err(InvalidCursor)
        }
    }
}

/// Which orders to list.
#[derive(Debug, Default)]
pub struct Filter<'a> {
    pub status: Option<OrderStatus>,
    pub product_id: Option<&'a str>,
    /// Whether the order has ended and owes nothing.
    pub settled: Option<bool>,
    pub created_after: Option<DateTime<Utc>>,
    pub created_before: Option<DateTime<Utc>>,
    /// Only orders older than this one: the last of the page before.
    pub before: Option<Cursor>,
    pub limit: i64,
}

impl Filter<'_> {
    /// The statuses to merge pages of. Unsettled orders with a final status come from
    /// [`Self::owing`].
    fn statuses(&self) -> Vec<&'static str> {
        let wanted = |status: &&OrderStatus| {
            self.status.is_none_or(|only| only == **status)
                && self
                    .settled
                    .is_none_or(|settled| settled == status.is_final())
        };
        OrderStatus::ALL
            .iter()
            .filter(wanted)
            .map(|status| status.as_str())
            .collect()
    }

    /// The conditions beside the status. Their numbers are those of the values that [`list`] binds.
    fn conditions(&self) -> String {
        let present = [
            (self.product_id.is_some(), "AND product_id = $3"),
            (self.before.is_some(), "AND (created_at, id) < ($4, $5)"),
            (self.created_after.is_some(), "AND created_at > $6"),
            (self.created_before.is_some(), "AND created_at < $7"),
            (
                self.settled == Some(true),
                "AND release_owed_epoch IS NULL AND NOT refund_owed AND NOT shipment_owed",
            ),
        ];
        present
            .into_iter()
            .filter(|(is_present, _)| *is_present)
            .map(|(_, condition)| condition)
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// The part of the statement that adds the orders that have ended and owe something. Their
    /// index is not in the page's order, so all of them are read. The sub-select has the order of
    /// that index, which makes the planner choose it.
    fn owing(&self, conditions: &str) -> String {
        let status = self
            .status
            .map_or(String::new(), |status| format!("AND status = '{status}'"));
        format!(
            "UNION ALL SELECT * FROM (
                 SELECT {} FROM unsettled_orders WHERE is_owing {status} {conditions}
                 ORDER BY next_attempt_at) owing",
            OrderRow::COLUMNS
        )
    }
}

/// A page of orders, newest first.
///
/// The page is merged from one page of each status, each read from an index in the page's order:
/// `orders_by_product` where the filter names a product, else `orders_by_status`. Besides the
/// orders of these pages, a filter for settled orders reads those between them that have ended and
/// owe something, and a filter for unsettled orders reads all that owe something.
///
/// # Errors
/// Those of the database.
pub async fn list(
    connection: &mut AsyncPgConnection,
    filter: &Filter<'_>,
) -> Result<Vec<OrderRow>, DatabaseError> {
    let conditions = filter.conditions();
    let owing = if filter.settled == Some(false) {
        filter.owing(&conditions)
    } else {
        String::new()
    };
    // Only `orders_by_product` has this collation.
    let status = if filter.product_id.is_some() {
        "status COLLATE \"C\""
    } else {
        "status"
    };
    let columns = OrderRow::COLUMNS;
    let statement = format!(
        "SELECT {columns} FROM (
             SELECT page.* FROM unnest($1) AS wanted (status) CROSS JOIN LATERAL (
                 SELECT {columns} FROM orders WHERE {status} = wanted.status {conditions}
                 ORDER BY created_at DESC, id DESC LIMIT $2) page
             {owing}) pages
         ORDER BY created_at DESC, id DESC LIMIT $2"
    );
    let Cursor { created_at, id } = filter.before.unwrap_or(Cursor {
        created_at: DateTime::default(),
        id: Uuid::nil(),
    });
    Ok(diesel::sql_query(statement)
        .bind::<Array<Varchar>, _>(filter.statuses())
        .bind::<BigInt, _>(filter.limit)
        .bind::<Varchar, _>(filter.product_id.unwrap_or_default())
        .bind::<Timestamptz, _>(created_at)
        .bind::<SqlUuid, _>(id)
        .bind::<Timestamptz, _>(filter.created_after.unwrap_or_default())
        .bind::<Timestamptz, _>(filter.created_before.unwrap_or_default())
        .load(connection)
        .await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back_from_its_text_and_from_no_other() {
        let cursor = Cursor {
            created_at: DateTime::from_timestamp_micros(1_700_000_000_123_456).unwrap(),
            id: Uuid::now_v7(),
        };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for wrong in [
            "",
            "-",
            "x-y",
            "12",
            "99999999999999999999-0",
            "1700000000123456-nothex",
        ] {
            assert_eq!(wrong.parse::<Cursor>(), Err(InvalidCursor), "{wrong}");
        }
        let id = Uuid::nil().simple();
        for far in [
            "-1",
            "-8000000000000000000",
            "10000000000000000",
            "8000000000000000000",
            "+1",
            "01",
        ] {
            assert_eq!(
                format!("{far}-{id}").parse::<Cursor>(),
                Err(InvalidCursor),
                "{far}"
            );
        }
    }
}
