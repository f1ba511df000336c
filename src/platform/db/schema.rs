//! Migrates the schema, and checks that the database is suitable.
//!
//! A service waits for an unreachable database. An unsuitable database (an encoding other than
//! UTF-8, tables of another program, missing privileges) ends the program with an error.

use std::error::Error;

use diesel::result::Error as DieselError;
use diesel::sql_types::{Array, Bool, Integer, Nullable, Text};
use diesel::{QueryableByName, sql_query};
use diesel_async::{
    AnsiTransactionManager, AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl,
    SimpleAsyncConnection, TransactionManager,
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::classify::takes_writes;
use super::url::DatabaseUrl;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!();
/// The advisory lock that a migration holds, so that replicas migrate one after the other. The
/// number is arbitrary.
const MIGRATION_LOCK: i64 = 0x5641_4c45;
/// The oldest major version of PostgreSQL.
pub const MIN_MAJOR_VERSION: u16 = 15;

/// Why the schema cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The only error that can go away without a change by the operator.
    #[error("cannot reach the database at {url}: {cause}")]
    Unreachable { url: DatabaseUrl, cause: String },
    #[error(
        "the schema of the database has version {version}, which this program does not know; use a \
         newer program, or create a new database if a development version made this one"
    )]
    Newer { version: String },
    #[error(
        "the database at {url} has the encoding {encoding}; create one with UTF8, for \
         example: CREATE DATABASE valerix ENCODING 'UTF8' TEMPLATE template0"
    )]
    Encoding { url: DatabaseUrl, encoding: String },
    #[error(
        "the database at {url} is PostgreSQL {major}; Valerix needs {MIN_MAJOR_VERSION} or newer"
    )]
    TooOld { url: DatabaseUrl, major: i32 },
    #[error(
        "the database at {url} rejected the schema and was not changed: {cause}; Valerix needs a \
         database of its own, and a user who may create tables in it"
    )]
    Rejected { url: DatabaseUrl, cause: String },
    #[error(
        "the user of the database at {url} may not read and write the table {table}; grant the \
         privileges, or use the owner of the table"
    )]
    MissingPrivileges { url: DatabaseUrl, table: String },
    #[error("the user of the database at {url} may not connect to it: {cause}")]
    AccessForbidden { url: DatabaseUrl, cause: String },
    /// A fault of this program.
    #[error("a migration failed: {0}")]
    Failed(String),
}

/// Applies the missing migrations, and returns their versions. Several processes may call it at the
/// same time.
///
/// The lock and all migrations are in one transaction. So the lock is released with the connection
/// at the latest, and a pooler in transaction mode keeps all of it in one session.
///
/// # Errors
/// See [`SchemaError`]. A failed migration does not change the schema.
pub async fn migrate(url: &DatabaseUrl) -> Result<Vec<String>, SchemaError> {
    let mut connection = connect(url).await?;
    // A pooler may accept a connection while the database behind it is unreachable.
    begin_exclusive(&mut connection)
        .await
        .map_err(|error| unreachable(url, &error))?;
    // In a task, where blocking is allowed, because the migration harness of Diesel is synchronous.
    let applied = tokio::task::spawn(async move {
        let mut harness = AsyncMigrationHarness::new(connection);
        let applied = apply(&mut harness);
        let mut connection = harness.into_inner();
        let outcome = match applied {
            Ok(versions) => commit(&mut connection).await.map(|()| versions),
            Err(error) => Err(error),
        };
        let is_rejected = outcome.is_err() && is_rejection(&mut connection).await;
        (outcome, is_rejected)
    });
    match applied
        .await
        .map_err(|error| SchemaError::Failed(error.to_string()))?
    {
        (Ok(versions), _) => Ok(versions),
        (Err(MigrationFailure::Newer(version)), _) => Err(SchemaError::Newer { version }),
        // Not caused by a migration. The transaction ends with the session, so it can be retried.
        (Err(MigrationFailure::Migration(error)), false) => Err(unreachable(url, &error)),
        (Err(MigrationFailure::Migration(error)), true) => Err(SchemaError::Rejected {
            url: url.clone(),
            cause: in_one_line(&error.to_string()),
        }),
    }
}

/// Whether the database has these tables and the user may read and write them. If not, another
/// process may still be going to migrate the schema.
///
/// # Errors
/// See [`SchemaError`].
pub async fn is_ready(url: &DatabaseUrl, tables: &[&str]) -> Result<bool, SchemaError> {
    #[derive(QueryableByName)]
    struct Table {
        #[diesel(sql_type = Text)]
        name: String,
        /// `None` if the table does not exist.
        #[diesel(sql_type = Nullable<Bool>)]
        usable: Option<bool>,
        /// Whether any migration was applied to the database.
        #[diesel(sql_type = Bool)]
        migrated: bool,
    }
    let mut connection = connect(url).await?;
    let statement = "WITH required AS (
            SELECT name, to_regclass(quote_ident(name))::oid AS id FROM unnest($1) AS name
        )
        SELECT name,
            has_table_privilege(id, 'SELECT') AND has_table_privilege(id, 'INSERT') AS usable,
            to_regclass('__diesel_schema_migrations') IS NOT NULL AS migrated
        FROM required";
    let required: Vec<Table> = sql_query(statement)
        .bind::<Array<Text>, _>(tables)
        .get_results(&mut connection)
        .await
        .map_err(|error| unreachable(url, &error))?;
    for Table {
        name,
        usable,
        migrated,
    } in &required
    {
        match (usable, migrated) {
            (Some(_), false) => {
                let cause = format!("it has a table {name} that Valerix did not create");
                return Err(SchemaError::Rejected {
                    url: url.clone(),
                    cause,
                });
            }
            (Some(false), true) => {
                return Err(SchemaError::MissingPrivileges {
                    url: url.clone(),
                    table: name.clone(),
                });
            }
            _ => {}
        }
    }
    Ok(required.iter().all(|table| table.usable == Some(true)))
}

/// Connects to the database, and checks its version and encoding.
async fn connect(url: &DatabaseUrl) -> Result<AsyncPgConnection, SchemaError> {
    #[derive(QueryableByName)]
    struct Server {
        #[diesel(sql_type = Text)]
        encoding: String,
        #[diesel(sql_type = Integer)]
        major: i32,
    }
    let mut connection = url.try_connect().await.map_err(|failure| {
        if failure.is_forbidden {
            return SchemaError::AccessForbidden {
                url: url.clone(),
                cause: in_one_line(&failure.reason),
            };
        }
        unreachable(url, &failure.reason)
    })?;
    let statement = "SELECT current_setting('server_encoding') AS encoding,
        current_setting('server_version_num')::int / 10000 AS major";
    let server: Server = sql_query(statement)
        .get_result(&mut connection)
        .await
        .map_err(|error| unreachable(url, &error))?;
    if server.major < i32::from(MIN_MAJOR_VERSION) {
        return Err(SchemaError::TooOld {
            url: url.clone(),
            major: server.major,
        });
    }
    if server.encoding != "UTF8" {
        return Err(SchemaError::Encoding {
            url: url.clone(),
            encoding: server.encoding,
        });
    }
    Ok(connection)
}

fn unreachable(url: &DatabaseUrl, cause: &impl ToString) -> SchemaError {
    SchemaError::Unreachable {
        url: url.clone(),
        cause: in_one_line(&cause.to_string()),
    }
}

fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

enum MigrationFailure {
    Newer(String),
    Migration(Box<dyn Error + Send + Sync>),
}

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for MigrationFailure {
    fn from(error: E) -> Self {
        Self::Migration(error.into())
    }
}

fn apply(
    harness: &mut AsyncMigrationHarness<AsyncPgConnection>,
) -> Result<Vec<String>, MigrationFailure> {
    reject_newer_schema(harness)?;
    let versions = harness.run_pending_migrations(MIGRATIONS)?;
    Ok(versions.iter().map(ToString::to_string).collect())
}

async fn commit(connection: &mut AsyncPgConnection) -> Result<(), MigrationFailure> {
    Ok(AnsiTransactionManager::commit_transaction(connection).await?)
}

/// Rolls back, and returns whether the server had rejected the work: it still responds and takes
/// writes. Otherwise the session has ended or the server is a standby, and the work can be retried.
async fn is_rejection(connection: &mut AsyncPgConnection) -> bool {
    connection.batch_execute("ROLLBACK").await.is_ok() && takes_writes(connection).await.is_ok()
}

/// Starts the transaction of the migrations, after that of any other process has ended.
async fn begin_exclusive(connection: &mut AsyncPgConnection) -> Result<(), DieselError> {
    AnsiTransactionManager::begin_transaction(connection).await?;
    // A pooler may set timeouts that suit the services, and that a migration can exceed.
    let statements = format!(
        "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0;
         SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"
    );
    connection.batch_execute(&statements).await
}

fn reject_newer_schema(
    harness: &mut AsyncMigrationHarness<AsyncPgConnection>,
) -> Result<(), MigrationFailure> {
    use diesel::migration::MigrationSource;
    let known: Vec<_> = MigrationSource::<diesel::pg::Pg>::migrations(&MIGRATIONS)?
        .iter()
        .map(|migration| migration.name().version().as_owned())
        .collect();
    match harness
        .applied_migrations()?
        .into_iter()
        .find(|version| !known.contains(version))
    {
        Some(version) => Err(MigrationFailure::Newer(version.to_string())),
        None => Ok(()),
    }
}
