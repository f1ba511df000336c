//! Inventory and payment with databases of their own. Their tables are copied into temporary ones on order's database,
//! which hide its own of the same name, so that the same rules look at them.
//!
//! Three databases have no common moment. Orders are looked at first, and what the rules say of an order they say of a
//! settled one: it became so after inventory and payment had committed what it rests on, and they never take that back. So
//! whoever looks there *later* sees it, and no rule fails because of what is under way. Only a reservation may be younger
//! than the look at the orders: whether its order is known is asked again at the end.

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use uuid::Uuid;

use super::{AuditError, TIME_LIMIT, connect};
use crate::platform::database::{DatabaseError, DatabaseUrl};

/// Rows that are read and written at once.
const BATCH: usize = 10_000;

/// The databases of inventory and payment, where they are not order's.
#[derive(Debug, Clone, Default)]
pub struct Elsewhere {
    pub inventory: Option<DatabaseUrl>,
    pub payment: Option<DatabaseUrl>,
}

struct Table {
    name: &'static str,
    /// What the rules look at: name and type.
    columns: &'static [(&'static str, &'static str)],
}

const INVENTORY: &[Table] = &[
    Table {
        name: "inventory",
        columns: &[("product_id", "text"), ("stock", "int"), ("reserved", "int"), ("stocked", "int")],
    },
    Table {
        name: "reservations",
        columns: &[("order_id", "uuid"), ("state", "text"), ("product_id", "text"), ("quantity", "int")],
    },
];

const PAYMENT: &[Table] = &[Table { name: "payments", columns: &[("order_id", "uuid"), ("status", "text")] }];

#[derive(QueryableByName)]
struct Figure {
    #[diesel(sql_type = BigInt)]
    figure: i64,
}

impl Elsewhere {
    #[must_use]
    pub const fn is_needed(&self) -> bool {
        self.inventory.is_some() || self.payment.is_some()
    }

    /// Looks at the orders, which fixes the transaction's moment, and then copies what is elsewhere; returns how many
    /// orders are confirmed.
    pub async fn bring_here(&self, connection: &mut AsyncPgConnection) -> Result<i64, AuditError> {
        let confirmed = diesel::sql_query("SELECT count(*) AS figure FROM orders WHERE status = 'CONFIRMED'");
        let Figure { figure } = confirmed.get_result(connection).await?;
        for (url, tables) in [(&self.inventory, INVENTORY), (&self.payment, PAYMENT)] {
            if let Some(url) = url {
                let copied = tokio::time::timeout(TIME_LIMIT, copy(url, tables, connection)).await;
                copied.map_err(|_| DatabaseError::TimedOut)??;
            }
        }
        Ok(figure)
    }

    /// With confirmed orders and not one row of a service's, its tables are elsewhere, or lost: either way this is not
    /// the place to check them.
    pub async fn refuse_empty(
        &self,
        connection: &mut AsyncPgConnection,
        confirmed: i64,
    ) -> Result<(), AuditError> {
        #[derive(QueryableByName)]
        struct Empty {
            #[diesel(sql_type = Bool)]
            empty: bool,
        }
        let suspects = [
            (&self.inventory, "reservations", "inventory", "INVENTORY_DATABASE_URL"),
            (&self.payment, "payments", "payment", "PAYMENT_DATABASE_URL"),
        ];
        for (url, table, service, variable) in suspects {
            if url.is_some() || confirmed == 0 {
                continue;
            }
            let statement = format!("SELECT NOT EXISTS (SELECT FROM {table}) AS empty");
            if diesel::sql_query(statement).get_result::<Empty>(connection).await?.empty {
                return Err(AuditError::Empty { confirmed, table, service, variable });
            }
        }
        Ok(())
    }
}

/// Copies tables as they were at one moment.
async fn copy(url: &DatabaseUrl, tables: &[Table], into: &mut AsyncPgConnection) -> Result<(), AuditError> {
    let mut from = connect(url).await?;
    let mut from_there = from.build_transaction().read_only().repeatable_read();
    from_there
        .run(async |from| {
            let limit = format!("SET LOCAL statement_timeout = {}", TIME_LIMIT.as_millis());
            from.batch_execute(&limit).await?;
            for table in tables {
                copy_table(from, table, into).await?;
            }
            Ok(())
        })
        .await
}

async fn copy_table(
    from: &mut AsyncPgConnection,
    table: &Table,
    into: &mut AsyncPgConnection,
) -> Result<(), AuditError> {
    #[derive(QueryableByName)]
    struct Line {
        #[diesel(sql_type = Text)]
        line: String,
    }
    let Table { name, columns } = table;
    let typed: Vec<_> = columns.iter().map(|(column, r#type)| format!("{column} {type}")).collect();
    let names: Vec<_> = columns.iter().map(|(column, _)| *column).collect();
    let cursor = format!(
        "DECLARE lines NO SCROLL CURSOR FOR SELECT ROW({})::text AS line FROM {name}",
        names.join(", ")
    );
    from.batch_execute(&cursor).await?;
    let here = format!("CREATE TEMPORARY TABLE {name} ({}) ON COMMIT DROP", typed.join(", "));
    into.batch_execute(&here).await?;
    loop {
        let fetch = diesel::sql_query(format!("FETCH {BATCH} FROM lines"));
        let lines: Vec<Line> = fetch.load(from).await?;
        let lines: Vec<_> = lines.into_iter().map(|Line { line }| line).collect();
        let last = lines.len() < BATCH;
        let insert = format!("INSERT INTO pg_temp.{name} SELECT * FROM unnest($1::text[]::pg_temp.{name}[])");
        diesel::sql_query(insert).bind::<Array<Text>, _>(lines).execute(into).await?;
        if last {
            break;
        }
    }
    from.batch_execute("CLOSE lines").await?;
    into.batch_execute(&format!("ANALYZE {name}")).await?;
    Ok(())
}

/// Held reservations whose orders were not there at the transaction's moment.
pub async fn unknown(connection: &mut AsyncPgConnection) -> Result<Vec<Uuid>, AuditError> {
    #[derive(QueryableByName)]
    struct Reservation {
        #[diesel(sql_type = SqlUuid)]
        order_id: Uuid,
    }
    let statement = "SELECT order_id FROM reservations r WHERE state = 'HELD'
                     AND NOT EXISTS (SELECT FROM orders o WHERE o.id = r.order_id)";
    let unknown: Vec<Reservation> = diesel::sql_query(statement).load(connection).await?;
    Ok(unknown.into_iter().map(|reservation| reservation.order_id).collect())
}

/// How many of them are not there now either.
pub async fn still_unknown(connection: &mut AsyncPgConnection, orders: Vec<Uuid>) -> Result<i64, AuditError> {
    let statement = "SELECT count(*) AS figure FROM unnest($1) AS given (id)
                     WHERE NOT EXISTS (SELECT FROM orders o WHERE o.id = given.id)";
    let still = diesel::sql_query(statement).bind::<Array<SqlUuid>, _>(orders);
    Ok(still.get_result::<Figure>(connection).await?.figure)
}
