//! Inventory and payment with databases of their own. Their tables are copied into temporary ones
//! on order's database, which hide its own of the same name, so that the same rules look at them.
//!
//! Three databases have no common snapshot. Orders are read first, then inventory, then payment.
//! What a rule says of an order it says of a settled one, and the rows that such an order rests on
//! were committed before it was settled and stay as they are. So a later snapshot of inventory or
//! payment contains them, and an order in progress violates no rule. Two kinds of row can be
//! younger than the snapshot of the orders, and seem to have none: a held reservation and a
//! successful payment. Whether these have an order is asked again at the end.

use std::collections::HashSet;
use std::time::Duration;

use chrono::Utc;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use uuid::Uuid;

use super::invariants::PAYMENT_HAS_ORDER;
use super::reader::{self, Limit, MAX_EXAMPLES};
use super::{Audit, AuditError, HoldWithoutOrder, MAX_HOLDS, ORDER_TABLES, connect, is_clean};
use crate::platform::db::DatabaseUrl;

/// Rows that are read and written at once.
const BATCH: usize = 10_000;
/// For the copy of one database where the audit as a whole has no limit.
const COPY_TIMEOUT: Duration = Duration::from_secs(30);

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
        columns: &[
            ("product_id", "text"),
            ("stock", "int"),
            ("reserved", "int"),
            ("stocked", "int"),
        ],
    },
    Table {
        name: "reservations",
        columns: &[
            ("order_id", "uuid"),
            ("state", "text"),
            ("product_id", "text"),
            ("quantity", "int"),
        ],
    },
];

const PAYMENT: &[Table] = &[Table {
    name: "payments",
    columns: &[
        ("order_id", "uuid"),
        ("amount", "numeric"),
        ("status", "text"),
    ],
}];

/// Orders that must have a row in each table.
#[derive(QueryableByName)]
pub struct Expected {
    #[diesel(sql_type = BigInt)]
    reservations: i64,
    #[diesel(sql_type = BigInt)]
    payments: i64,
}

impl Expected {
    /// Reads the orders, which takes the transaction's snapshot. The conditions are those of the
    /// rules.
    pub async fn read(connection: &mut AsyncPgConnection) -> Result<Self, AuditError> {
        let statement = "
            SELECT count(*) AS reservations,
                   count(*) FILTER (WHERE status = 'CONFIRMED' OR failure_reason IN ('payment-declined', 'expired'))
                       AS payments
            FROM orders WHERE status IN ('CONFIRMED', 'FAILED') AND release_due IS NULL AND NOT void_due";
        Ok(diesel::sql_query(statement).get_result(connection).await?)
    }
}

impl Elsewhere {
    #[must_use]
    pub const fn is_needed(&self) -> bool {
        self.inventory.is_some() || self.payment.is_some()
    }

    /// Audits where at least one service has a database of its own.
    pub async fn audit(
        &self,
        connection: &mut AsyncPgConnection,
        bound: Duration,
        limit: Limit,
    ) -> Result<Audit, AuditError> {
        let mut transaction = connection.build_transaction().repeatable_read();
        let (mut audit, without_order) = transaction
            .run(async |connection| {
                reader::lock(connection, &self.tables_here(), limit).await?;
                let at = Utc::now();
                let expected = Expected::read(connection).await?;
                self.copy_here(connection, limit).await?;
                self.refuse_empty(connection, &expected).await?;
                let audit = reader::read(connection, bound, at, limit).await?;
                Ok::<_, AuditError>((audit, WithoutOrder::read(connection).await?))
            })
            .await?;
        without_order
            .recheck(connection, limit)
            .await?
            .correct(&mut audit);
        Ok(audit)
    }

    /// The tables of order's database that are looked at.
    fn tables_here(&self) -> Vec<&'static str> {
        let names = |tables: &'static [Table]| tables.iter().map(|table| table.name);
        let inventory = names(INVENTORY).filter(|_| self.inventory.is_none());
        let payment = names(PAYMENT).filter(|_| self.payment.is_none());
        ORDER_TABLES
            .into_iter()
            .chain(inventory)
            .chain(payment)
            .collect()
    }

    async fn copy_here(
        &self,
        connection: &mut AsyncPgConnection,
        limit: Limit,
    ) -> Result<(), AuditError> {
        for (url, tables) in [(&self.inventory, INVENTORY), (&self.payment, PAYMENT)] {
            if let Some(url) = url {
                let copied =
                    tokio::time::timeout(COPY_TIMEOUT, copy(url, tables, connection, limit)).await;
                copied.map_err(|_| AuditError::TimedOut)??;
            }
        }
        Ok(())
    }

    /// With orders that must have rows in a table and not one row in it, the table is in another
    /// database, or its rows are lost: either way this is not the place to check them.
    pub async fn refuse_empty(
        &self,
        connection: &mut AsyncPgConnection,
        expected: &Expected,
    ) -> Result<(), AuditError> {
        #[derive(QueryableByName)]
        struct Empty {
            #[diesel(sql_type = Bool)]
            empty: bool,
        }
        let suspects = [
            (
                &self.inventory,
                expected.reservations,
                "reservations",
                "inventory",
                "INVENTORY_DATABASE_URL",
            ),
            (
                &self.payment,
                expected.payments,
                "payments",
                "payment",
                "PAYMENT_DATABASE_URL",
            ),
        ];
        for (url, orders, table, service, variable) in suspects {
            if url.is_some() || orders == 0 {
                continue;
            }
            let statement = format!("SELECT NOT EXISTS (SELECT FROM {table}) AS empty");
            if diesel::sql_query(statement)
                .get_result::<Empty>(connection)
                .await?
                .empty
            {
                return Err(AuditError::Empty {
                    orders,
                    table,
                    service,
                    variable,
                });
            }
        }
        Ok(())
    }
}

/// Copies tables as they are in one snapshot.
async fn copy(
    url: &DatabaseUrl,
    tables: &'static [Table],
    into: &mut AsyncPgConnection,
    limit: Limit,
) -> Result<(), AuditError> {
    let mut from = connect(url).await?;
    let mut snapshot = from.build_transaction().read_only().repeatable_read();
    snapshot
        .run(async |from| {
            let names: Vec<_> = tables.iter().map(|table| table.name).collect();
            reader::lock(from, &names, limit).await?;
            for table in tables {
                limit.set(from).await?;
                limit.set(into).await?;
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
    let typed: Vec<_> = columns
        .iter()
        .map(|(column, r#type)| format!("{column} {type}"))
        .collect();
    let names: Vec<_> = columns.iter().map(|(column, _)| *column).collect();
    let cursor = format!(
        "DECLARE lines NO SCROLL CURSOR FOR SELECT ROW({})::text AS line FROM {name}",
        names.join(", ")
    );
    from.batch_execute(&cursor).await?;
    let here = format!(
        "CREATE TEMPORARY TABLE {name} ({}) ON COMMIT DROP",
        typed.join(", ")
    );
    into.batch_execute(&here).await?;
    loop {
        let fetch = diesel::sql_query(format!("FETCH {BATCH} FROM lines"));
        let lines: Vec<Line> = fetch.load(from).await?;
        let lines: Vec<_> = lines.into_iter().map(|Line { line }| line).collect();
        let last = lines.len() < BATCH;
        let insert = format!(
            "INSERT INTO pg_temp.{name} SELECT * FROM unnest($1::text[]::pg_temp.{name}[])"
        );
        diesel::sql_query(insert)
            .bind::<Array<Text>, _>(lines)
            .execute(into)
            .await?;
        if last {
            break;
        }
    }
    from.batch_execute("CLOSE lines").await?;
    into.batch_execute(&format!("ANALYZE {name}")).await?;
    Ok(())
}

/// What has no order in the snapshot of the orders.
struct WithoutOrder {
    holds: Vec<HoldWithoutOrder>,
    /// Orders that successful payments name.
    payments: Vec<Uuid>,
}

#[derive(QueryableByName)]
struct OrderId {
    #[diesel(sql_type = SqlUuid)]
    order_id: Uuid,
}

impl WithoutOrder {
    async fn read(connection: &mut AsyncPgConnection) -> Result<Self, AuditError> {
        let holds = reader::holds_without_order(connection, None).await?;
        let statement = "SELECT order_id FROM payments p WHERE status = 'SUCCESS'
                         AND NOT EXISTS (SELECT FROM orders o WHERE o.id = p.order_id)";
        let payments: Vec<OrderId> = diesel::sql_query(statement).load(connection).await?;
        Ok(Self {
            holds,
            payments: payments
                .into_iter()
                .map(|payment| payment.order_id)
                .collect(),
        })
    }

    /// Keeps those that still have no order: in a new snapshot, since the transaction has ended.
    async fn recheck(
        self,
        connection: &mut AsyncPgConnection,
        limit: Limit,
    ) -> Result<Self, AuditError> {
        let Self {
            mut holds,
            mut payments,
        } = self;
        let ids: Vec<_> = holds
            .iter()
            .map(|hold| hold.order_id)
            .chain(payments.iter().copied())
            .collect();
        if ids.is_empty() {
            return Ok(Self { holds, payments });
        }
        let statement = "SELECT id AS order_id FROM orders WHERE id = ANY ($1)";
        let mut transaction = connection.build_transaction().read_only();
        let found: Vec<OrderId> = transaction
            .run(async |connection| {
                reader::lock(connection, &["orders"], limit).await?;
                let query = diesel::sql_query(statement).bind::<Array<SqlUuid>, _>(ids);
                Ok::<_, AuditError>(query.load(connection).await?)
            })
            .await?;
        let found: HashSet<_> = found.into_iter().map(|row| row.order_id).collect();
        holds.retain(|hold| !found.contains(&hold.order_id));
        payments.retain(|order_id| !found.contains(order_id));
        Ok(Self { holds, payments })
    }

    /// Puts them in the place of what the snapshot alone told.
    fn correct(self, audit: &mut Audit) {
        let Self {
            mut holds,
            payments,
        } = self;
        audit.orders.reservations_without_order = to_i64(holds.len());
        holds.truncate(MAX_HOLDS);
        audit.holds_without_order = holds;
        let mut examples: Vec<_> = payments.iter().map(Uuid::to_string).collect();
        examples.sort_unstable();
        examples.truncate(MAX_EXAMPLES);
        for invariant in audit
            .invariants
            .iter_mut()
            .filter(|invariant| invariant.name == PAYMENT_HAS_ORDER)
        {
            invariant.violations = to_i64(payments.len());
            invariant.examples.clone_from(&examples);
        }
        audit.clean = is_clean(&audit.invariants);
    }
}

fn to_i64(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}
