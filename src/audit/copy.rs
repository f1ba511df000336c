//! Copies tables from one database into temporary tables of another.

use diesel::prelude::*;
use diesel::sql_types::{Array, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};

use super::error::AuditError;
use super::session::{TimeLimit, connect, lock_tables};
use super::tables::{Rows, Table, names};
use crate::platform::db::DatabaseUrl;

/// Rows that are read and written at once.
const ROWS_PER_FETCH: usize = 10_000;

/// Copies `rows` of `tables` of the database at `url` into temporary tables, all as of one
/// snapshot. The temporary tables end with the transaction of `into`.
///
/// # Errors
/// Those of both databases.
pub async fn copy_tables(
    url: &DatabaseUrl,
    tables: &'static [Table],
    rows: Rows<'_>,
    into: &mut AsyncPgConnection,
    limit: TimeLimit,
) -> Result<(), AuditError> {
    let mut from = connect(url).await?;
    let mut snapshot = from.build_transaction().read_only().repeatable_read();
    snapshot
        .run(async |from| {
            lock_tables(from, &names(rows.tables(tables)), limit).await?;
            for table in rows.tables(tables) {
                limit.apply(from).await?;
                limit.apply(into).await?;
                copy_table(from, table, rows, into).await?;
            }
            Ok(())
        })
        .await
}

/// Rows travel as the text of a composite value, so that one array carries all columns.
async fn copy_table(
    from: &mut AsyncPgConnection,
    table: &Table,
    rows: Rows<'_>,
    into: &mut AsyncPgConnection,
) -> Result<(), AuditError> {
    let Table { name, columns } = table;
    let typed: Vec<_> = columns
        .iter()
        .map(|(column, sql_type)| format!("{column} {sql_type}"))
        .collect();
    let columns: Vec<_> = columns.iter().map(|(column, _)| *column).collect();
    let cursor = format!(
        "DECLARE audit_rows NO SCROLL CURSOR FOR
         SELECT ROW({})::text AS row_text FROM {name} WHERE {}",
        columns.join(", "),
        rows.condition("order_id")
    );
    from.batch_execute(&cursor).await?;
    let create = format!(
        "CREATE TEMPORARY TABLE {name} ({}) ON COMMIT DROP",
        typed.join(", ")
    );
    into.batch_execute(&create).await?;
    loop {
        if copy_rows(from, name, into).await? < ROWS_PER_FETCH {
            break;
        }
    }
    from.batch_execute("CLOSE audit_rows").await?;
    into.batch_execute(&format!("ANALYZE {name}")).await?;
    Ok(())
}

/// Copies the cursor's next rows, and returns their number.
async fn copy_rows(
    from: &mut AsyncPgConnection,
    table: &str,
    into: &mut AsyncPgConnection,
) -> Result<usize, AuditError> {
    #[derive(QueryableByName)]
    struct TextRow {
        #[diesel(sql_type = Text)]
        row_text: String,
    }
    let fetch = diesel::sql_query(format!("FETCH {ROWS_PER_FETCH} FROM audit_rows"));
    let rows: Vec<TextRow> = fetch.load(from).await?;
    let rows: Vec<_> = rows.into_iter().map(|row| row.row_text).collect();
    let count = rows.len();
    let insert =
        format!("INSERT INTO pg_temp.{table} SELECT * FROM unnest($1::text[]::pg_temp.{table}[])");
    diesel::sql_query(insert)
        .bind::<Array<Text>, _>(rows)
        .execute(into)
        .await?;
    Ok(count)
}
