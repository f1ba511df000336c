//! The schema: brought up to date by its migrations, in a database that can hold it.
//!
//! A database that is away is waited for. One that cannot serve however long one waits (another
//! encoding than UTF-8, somebody else's tables, missing rights) is an error of its own kind, which
//! ends the program.

use std::error::Error;

use diesel::result::Error as DieselError;
use diesel::sql_types::{Array, Bool, Integer, Nullable, Text};
use diesel::{QueryableByName, sql_query};
use diesel_async::{
    AnsiTransactionManager, AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl,
    SimpleAsyncConnection, TransactionManager,
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::pool::takes_writes;
use super::url::DatabaseUrl;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!();
/// Held by whoever migrates, so that replicas started together do it one after the other. Any
/// number will do.
const MIGRATION_LOCK: i64 = 0x5641_4c45;
const MIN_MAJOR_VERSION: i32 = 15;

/// Why there is no schema to work with.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// It may come later; everything else is for ever.
    #[error("cannot reach the database at {url}: {cause}")]
    Unreachable { url: DatabaseUrl, cause: String },
    #[error(
        "the database's schema has version {version}, which this program does not know; use the newer program, or make the database anew if an earlier development state made it"
    )]
    Newer { version: String },
    #[error(
        "the database at {url} has the encoding {encoding}; Valerix needs one made with ENCODING 'UTF8', as in \
         CREATE DATABASE valerix ENCODING 'UTF8' TEMPLATE template0"
    )]
    Encoding { url: DatabaseUrl, encoding: String },
    #[error(
        "the database at {url} is PostgreSQL {major}; Valerix needs {MIN_MAJOR_VERSION} or newer"
    )]
    TooOld { url: DatabaseUrl, major: i32 },
    #[error(
        "the database at {url} refused the schema, and was left as it was: {cause}; Valerix needs a database of its own, \
         and a user who may create tables in it"
    )]
    Refused { url: DatabaseUrl, cause: String },
    #[error(
        "the user of the database at {url} may not read and write the table {table}; grant the rights, or use the table's owner"
    )]
    NoRights { url: DatabaseUrl, table: String },
    #[error("the user of the database at {url} may not connect to it: {cause}")]
    NoAccess { url: DatabaseUrl, cause: String },
    /// A mistake of this program.
    #[error("a migration failed: {0}")]
    Failed(String),
}

/// Applies what is missing; several processes may do so at once. Returns the versions applied.
///
/// All in one transaction, which holds the lock: it ends with the connection, whatever happens, and
/// a pooler that gives each transaction another session keeps it in one.
///
/// # Errors
/// See [`SchemaError`]; a failed migration leaves the schema as it was.
pub async fn migrate(url: &DatabaseUrl) -> Result<Vec<String>, SchemaError> {
    let mut connection = connect(url).await?;
    // A pooler may take a connection while the database behind it is not there yet.
    begin_alone(&mut connection)
        .await
        .map_err(|error| unreachable(url, &error))?;
    // On a thread where blocking is allowed: Diesel's migration harness is synchronous.
    let applied = tokio::task::spawn(async move {
        let mut harness = AsyncMigrationHarness::new(connection);
        let applied = apply(&mut harness);
        let mut connection = harness.into_inner();
        let outcome = match applied {
            Ok(versions) => commit(&mut connection).await.map(|()| versions),
            Err(error) => Err(error),
        };
        let refused = outcome.is_err() && is_refusal(&mut connection).await;
        (outcome, refused)
    });
    match applied
        .await
        .map_err(|error| SchemaError::Failed(error.to_string()))?
    {
        (Ok(versions), _) => Ok(versions),
        (Err(Failure::Newer(version)), _) => Err(SchemaError::Newer { version }),
        // No migration's fault. What was begun is undone with the session, and can be begun again.
        (Err(Failure::Migration(error)), false) => Err(unreachable(url, &error)),
        (Err(Failure::Migration(error)), true) => Err(SchemaError::Refused {
            url: url.clone(),
            cause: in_one_line(&error.to_string()),
        }),
    }
}

/// Whether the database has tables of these names that its user may read and write. Until then
/// somebody else may be about to apply the migrations.
///
/// # Errors
/// See [`SchemaError`].
pub async fn is_ready(url: &DatabaseUrl, tables: &[&str]) -> Result<bool, SchemaError> {
    #[derive(QueryableByName)]
    struct Table {
        #[diesel(sql_type = Text)]
        name: String,
        /// Absent where there is no such table.
        #[diesel(sql_type = Nullable<Bool>)]
        usable: Option<bool>,
        #[diesel(sql_type = Bool)]
        migrated: bool,
    }
    let mut connection = connect(url).await?;
    let statement = "SELECT name,
            has_table_privilege(id, 'SELECT') AND has_table_privilege(id, 'INSERT') AS usable,
            to_regclass('__diesel_schema_migrations') IS NOT NULL AS migrated
        FROM (SELECT name, to_regclass(quote_ident(name))::oid AS id FROM unnest($1) AS name) AS wanted";
    let found: Vec<Table> = sql_query(statement)
        .bind::<Array<Text>, _>(tables)
        .get_results(&mut connection)
        .await
        .map_err(|error| unreachable(url, &error))?;
    for Table {
        name,
        usable,
        migrated,
    } in &found
    {
        match (usable, migrated) {
            (Some(_), false) => {
                let cause = format!("it has a table {name} that no migration of Valerix made");
                return Err(SchemaError::Refused {
                    url: url.clone(),
                    cause,
                });
            }
            (Some(false), true) => {
                return Err(SchemaError::NoRights {
                    url: url.clone(),
                    table: name.clone(),
                });
            }
            _ => {}
        }
    }
    Ok(found.iter().all(|table| table.usable == Some(true)))
}

/// To a database that can hold the schema.
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
            return SchemaError::NoAccess {
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
    if server.major < MIN_MAJOR_VERSION {
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

enum Failure {
    Newer(String),
    Migration(Box<dyn Error + Send + Sync>),
}

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Migration(error.into())
    }
}

fn apply(harness: &mut AsyncMigrationHarness<AsyncPgConnection>) -> Result<Vec<String>, Failure> {
    refuse_newer(harness)?;
    let versions = harness.run_pending_migrations(MIGRATIONS)?;
    Ok(versions.iter().map(ToString::to_string).collect())
}

async fn commit(connection: &mut AsyncPgConnection) -> Result<(), Failure> {
    Ok(AnsiTransactionManager::commit_transaction(connection).await?)
}

/// Undoes what was begun. A server that still answers, and takes writes, has refused the work by
/// itself. Otherwise the session has ended or its server is a standby, which is no answer to the
/// work.
async fn is_refusal(connection: &mut AsyncPgConnection) -> bool {
    connection.batch_execute("ROLLBACK").await.is_ok() && takes_writes(connection).await.is_ok()
}

/// Begins a transaction that no other process that migrates is in at the same time.
async fn begin_alone(connection: &mut AsyncPgConnection) -> Result<(), DieselError> {
    AnsiTransactionManager::begin_transaction(connection).await?;
    connection
        .batch_execute(&format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
        .await
}

fn refuse_newer(harness: &mut AsyncMigrationHarness<AsyncPgConnection>) -> Result<(), Failure> {
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
        Some(version) => Err(Failure::Newer(version.to_string())),
        None => Ok(()),
    }
}
