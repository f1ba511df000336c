//! The table of the exchange.

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Double, Jsonb, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::latency_histogram::PackedHistogram;
use crate::platform::db::DatabaseError;

/// A slice of this replica, to be written.
#[derive(Serialize)]
pub struct Outgoing {
    pub number: i64,
    /// Seconds since the requests ended. With ages, the clocks of two replicas need not agree.
    pub age: f64,
    pub total_us: i64,
    pub latency_histogram: Vec<(u32, u32)>,
}

/// A slice of another replica.
#[derive(QueryableByName)]
pub struct Incoming {
    #[diesel(sql_type = SqlUuid)]
    pub replica: Uuid,
    #[diesel(sql_type = BigInt)]
    pub number: i64,
    /// Seconds since the requests ended.
    #[diesel(sql_type = Double)]
    pub age: f64,
    #[diesel(sql_type = BigInt)]
    total_us: i64,
    #[diesel(sql_type = Jsonb)]
    latency_histogram: serde_json::Value,
}

impl Incoming {
    /// `None` when a newer version wrote the histogram in another form.
    pub fn packed(&self) -> Option<PackedHistogram> {
        Some(PackedHistogram {
            total_us: self.total_us,
            counts: Vec::deserialize(&self.latency_histogram).ok()?,
        })
    }
}

/// Writes this replica's slices, except those that were written before, and reads those that the
/// other replicas have written within `since`, in the order of their numbers. Writes nothing when
/// there are no slices to write.
///
/// # Errors
/// Those of the database.
pub async fn exchange(
    connection: &mut AsyncPgConnection,
    replica: Uuid,
    slices: &[Outgoing],
    since: Duration,
) -> Result<Vec<Incoming>, DatabaseError> {
    let statement = "
        WITH written AS (
            INSERT INTO sla_reports (replica, number, at, total_us, latency_histogram)
            SELECT $1, number, now() - age * interval '1 second', total_us, latency_histogram
            FROM jsonb_to_recordset($2)
                AS slice (number bigint, age float8, total_us bigint, latency_histogram jsonb)
            ON CONFLICT (replica, number) DO NOTHING)
        SELECT replica, number, EXTRACT(EPOCH FROM now() - at)::float8 AS age, total_us,
            latency_histogram
        FROM sla_reports
        WHERE reported_at > now() - $3 * interval '1 second' AND replica <> $1
        ORDER BY number";
    let slices =
        serde_json::to_value(slices).map_err(|error| DatabaseError::Internal(error.to_string()))?;
    Ok(diesel::sql_query(statement)
        .bind::<SqlUuid, _>(replica)
        .bind::<Jsonb, _>(slices)
        .bind::<Double, _>(since.as_secs_f64())
        .load(connection)
        .await?)
}

/// Removes the slices that were written longer ago than `retention`.
///
/// # Errors
/// Those of the database.
pub async fn remove_old(
    connection: &mut AsyncPgConnection,
    retention: Duration,
) -> Result<(), DatabaseError> {
    let statement = "DELETE FROM sla_reports WHERE reported_at < now() - $1 * interval '1 second'";
    diesel::sql_query(statement)
        .bind::<Double, _>(retention.as_secs_f64())
        .execute(connection)
        .await?;
    Ok(())
}
