//! Orders page by page.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Bool, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::OrderRow;
use crate::api::OrderStatus;
use crate::platform::database::DatabaseError;
use crate::schema::orders;

/// Sixteen digits, until the year 2286. PostgreSQL's times end earlier than those that a number can stand for.
const LATEST_MICROS: i64 = 9_999_999_999_999_999;

/// Where a page ends: the next one begins with the next older order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    pub created_at: DateTime<Utc>,
    pub id: Uuid,
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.created_at.timestamp_micros(), self.id.simple())
    }
}

impl std::str::FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (micros, id) = text.rsplit_once('-').ok_or(())?;
        let micros = micros.parse().ok().filter(|micros| (0..=LATEST_MICROS).contains(micros));
        let created_at = micros.and_then(DateTime::from_timestamp_micros).ok_or(())?;
        let cursor = Self { created_at, id: Uuid::try_parse(id).map_err(|_| ())? };
        // As it was given out, and in no other way of writing the same.
        if cursor.to_string() == text { Ok(cursor) } else { Err(()) }
    }
}

/// What to list.
#[derive(Debug, Default)]
pub struct Filter<'a> {
    pub status: Option<OrderStatus>,
    pub product_id: Option<&'a str>,
    pub before: Option<Cursor>,
    pub limit: i64,
}

/// Newest first.
///
/// # Errors
/// Those of the database.
pub async fn list(
    connection: &mut AsyncPgConnection,
    filter: &Filter<'_>,
) -> Result<Vec<OrderRow>, DatabaseError> {
    let mut query = orders::table.select(OrderRow::as_select()).into_boxed();
    if let Some(status) = filter.status {
        query = query.filter(orders::status.eq(status.as_str()));
    }
    if let Some(product_id) = filter.product_id {
        query = query.filter(orders::product_id.eq(product_id));
    }
    if let Some(Cursor { created_at, id }) = filter.before {
        let older = diesel::dsl::sql::<Bool>("(created_at, id) < (")
            .bind::<Timestamptz, _>(created_at)
            .sql(", ")
            .bind::<SqlUuid, _>(id)
            .sql(")");
        query = query.filter(older);
    }
    Ok(query
        .order((orders::created_at.desc(), orders::id.desc()))
        .limit(filter.limit)
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
        for wrong in ["", "-", "x-y", "12", "99999999999999999999-0", "1700000000123456-nothex"] {
            assert_eq!(wrong.parse::<Cursor>(), Err(()), "{wrong}");
        }
        let id = Uuid::nil().simple();
        for far in ["-1", "-8000000000000000000", "10000000000000000", "8000000000000000000", "+1", "01"] {
            assert_eq!(format!("{far}-{id}").parse::<Cursor>(), Err(()), "{far}");
        }
    }
}
