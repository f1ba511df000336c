//! The table by which the replicas tell each other.

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Double, Jsonb, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::latency_histogram::Packed;
use crate::platform::db::DatabaseError;

/// Own figures, to be told.
#[derive(Serialize)]
pub struct Telling {
    pub number: i64,
    /// Seconds since the requests: no two clocks need agree.
    pub age: f64,
    pub total_us: i64,
    pub took: Vec<(u32, u32)>,
}

/// Figures of another replica.
#[derive(QueryableByName)]
pub struct Heard {
    #[diesel(sql_type = SqlUuid)]
    pub replica: Uuid,
    #[diesel(sql_type = BigInt)]
    pub number: i64,
    #[diesel(sql_type = Double)]
    pub age: f64,
    #[diesel(sql_type = BigInt)]
    total_us: i64,
    #[diesel(sql_type = Jsonb)]
    took: serde_json::Value,
}

impl Heard {
    /// Nothing when it is of a form that this program does not know.
    pub fn packed(&self) -> Option<Packed> {
        Some(Packed {
            total_us: self.total_us,
            took: Vec::deserialize(&self.took).ok()?,
        })
    }
}

/// Tells the others what is new here, and hears what they have told of late; writes nothing when
/// there is nothing to tell. What was told before is not told again.
///
/// # Errors
/// Those of the database.
pub async fn exchange(
    connection: &mut AsyncPgConnection,
    replica: Uuid,
    news: &[Telling],
    since: Duration,
) -> Result<Vec<Heard>, DatabaseError> {
    let statement = "
        WITH told AS (
            INSERT INTO sla_figures (replica, number, at, total_us, took)
            SELECT $1, number, now() - age * interval '1 second', total_us, took
            FROM jsonb_to_recordset($2) AS given (number bigint, age float8, total_us bigint, took jsonb)
            ON CONFLICT (replica, number) DO NOTHING)
        SELECT replica, number, EXTRACT(EPOCH FROM now() - at)::float8 AS age, total_us, took
        FROM sla_figures WHERE told_at > now() - $3 * interval '1 second' AND replica <> $1
        ORDER BY number";
    let news =
        serde_json::to_value(news).map_err(|error| DatabaseError::Internal(error.to_string()))?;
    Ok(diesel::sql_query(statement)
        .bind::<SqlUuid, _>(replica)
        .bind::<Jsonb, _>(news)
        .bind::<Double, _>(since.as_secs_f64())
        .load(connection)
        .await?)
}

/// Forgets what is older.
///
/// # Errors
/// Those of the database.
pub async fn forget(
    connection: &mut AsyncPgConnection,
    older_than: Duration,
) -> Result<(), DatabaseError> {
    let statement = "DELETE FROM sla_figures WHERE told_at < now() - $1 * interval '1 second'";
    diesel::sql_query(statement)
        .bind::<Double, _>(older_than.as_secs_f64())
        .execute(connection)
        .await?;
    Ok(())
}
