//! Orders page by page.

use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, BigInt, Timestamptz, Uuid as SqlUuid, Varchar};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::{COLUMNS, OWING, OrderRow};
use crate::api::OrderStatus;
use crate::platform::db::DatabaseError;

/// Sixteen digits, until the year 2286. PostgreSQL's times end earlier than those that a number can
/// stand for.
const LATEST_MICROS: i64 = 9_999_999_999_999_999;

/// Where a page ends: the next one begins with the next older order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    pub created_at: DateTime<Utc>,
    pub id: Uuid,
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}-{}",
            self.created_at.timestamp_micros(),
            self.id.simple()
        )
    }
}

impl std::str::FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (micros, id) = text.rsplit_once('-').ok_or(())?;
        let micros = micros
            .parse()
            .ok()
            .filter(|micros| (0..=LATEST_MICROS).contains(micros));
        let created_at = micros.and_then(DateTime::from_timestamp_micros).ok_or(())?;
        let cursor = Self {
            created_at,
            id: Uuid::try_parse(id).map_err(|_| ())?,
        };
        // As it was given out, and in no other way of writing the same.
        if cursor.to_string() == text {
            Ok(cursor)
        } else {
            Err(())
        }
    }
}

/// What to list.
#[derive(Debug, Default)]
pub struct Filter<'a> {
    pub status: Option<OrderStatus>,
    pub product_id: Option<&'a str>,
    /// Whether nothing is left to be done for the order.
    pub settled: Option<bool>,
    pub created_after: Option<DateTime<Utc>>,
    pub created_before: Option<DateTime<Utc>>,
    /// Where the page before ended.
    pub before: Option<Cursor>,
    pub limit: i64,
}

impl Filter<'_> {
    /// The statuses that orders of the page can have. Those that owe something are found apart from
    /// them.
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

    /// Conditions beside the status; the numbers are those of the values that [`list`] binds.
    fn conditions(&self) -> String {
        let present = [
            (self.product_id.is_some(), "AND product_id = $3"),
            (self.before.is_some(), "AND (created_at, id) < ($4, $5)"),
            (self.created_after.is_some(), "AND created_at > $6"),
            (self.created_before.is_some(), "AND created_at < $7"),
            (
                self.settled == Some(true),
                "AND release_due IS NULL AND NOT void_due",
            ),
        ];
        present
            .into_iter()
            .filter(|(is_present, _)| *is_present)
            .map(|(_, condition)| condition)
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Final orders that owe something are few, and their own index finds them.
    fn owing(&self, conditions: &str) -> String {
        let status = self
            .status
            .map_or(String::new(), |status| format!("AND status = '{status}'"));
        format!(
            "UNION ALL SELECT * FROM (
                 SELECT {COLUMNS} FROM orders WHERE {OWING} {status} {conditions}
                 ORDER BY next_attempt_at) owing"
        )
    }
}

/// Newest first. A page is merged from one page of each status, each read from the index of that
/// status (or of that product and status): no filter reads past more orders than it shows.
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
    // Only the product's own index has this collation (migrations/).
    let status = if filter.product_id.is_some() {
        "status COLLATE \"C\""
    } else {
        "status"
    };
    let statement = format!(
        "SELECT {COLUMNS} FROM (
             SELECT page.* FROM unnest($1) AS wanted (status) CROSS JOIN LATERAL (
                 SELECT {COLUMNS} FROM orders WHERE {status} = wanted.status {conditions}
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
    fn a_cursor_survives_its_text_form() {
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
            assert_eq!(wrong.parse::<Cursor>(), Err(()), "{wrong}");
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
            assert_eq!(format!("{far}-{id}").parse::<Cursor>(), Err(()), "{far}");
        }
    }
}
