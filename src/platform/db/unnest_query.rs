//! A hand-written statement over many input rows, prepared once on each connection.
//!
//! Diesel prepares an `sql_query` again each time, and its query builder cannot pass several arrays
//! to `unnest`. So each statement is a type, by which Diesel finds the prepared statement. The rows
//! are passed as one array for each column.
//!
//! The result of a statement that changes rows must be read to its end (`load`, never
//! `get_result`). The server sends rows before it commits, and only the end of the result says that
//! the change is stored.

use std::marker::PhantomData;

use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};

/// A statement over the rows of a table expression named `input`.
pub trait BatchStatement: Send + 'static {
    /// The columns of `input`, in the order of the arrays.
    const COLUMNS: &'static str;
    /// The SQL after `WITH input AS (…)`: the main statement, or further `, name AS (…)` before it.
    ///
    /// The plan is kept, and the planner knows neither the number of rows nor the later size of a
    /// table. Restrict each table by `= ANY ($n)`, where `$n` is the array of the nth column, so
    /// that no plan reads a whole table.
    const TEXT: &'static str;
    /// The SQL types of the result columns.
    type Returns;
}

/// A statement with its input rows.
pub struct UnnestQuery<S, A> {
    arrays: A,
    statement: PhantomData<S>,
}

impl<S: BatchStatement, A> UnnestQuery<S, A> {
    /// `arrays` has one bound [`array`] for each column.
    pub const fn new(arrays: A) -> Self {
        Self {
            arrays,
            statement: PhantomData,
        }
    }
}

impl<S: BatchStatement, A: QueryFragment<Pg>> QueryFragment<Pg> for UnnestQuery<S, A> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("WITH input (");
        out.push_sql(S::COLUMNS);
        out.push_sql(") AS (SELECT ");
        self.arrays.walk_ast(out.reborrow())?;
        out.push_sql(") ");
        out.push_sql(S::TEXT);
        Ok(())
    }
}

impl<S: BatchStatement, A> QueryId for UnnestQuery<S, A> {
    // The SQL does not depend on the values.
    type QueryId = S;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<S: BatchStatement, A> Query for UnnestQuery<S, A> {
    type SqlType = S::Returns;
}

/// The rows of one column of the input: the elements of an array.
///
/// Each column is an `unnest` of its own in the list of a `SELECT`. `unnest` of several arrays at
/// once, in `FROM`, would first store each column in a buffer.
pub struct Column<E>(E);

impl<E: QueryFragment<Pg>> QueryFragment<Pg> for Column<E> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("unnest(");
        self.0.walk_ast(out.reborrow())?;
        out.push_sql(")");
        Ok(())
    }
}

/// Returns one column of the input, whose values are bound as an array of its SQL type.
#[must_use]
pub fn array<T, V>(
    values: Vec<V>,
) -> Column<diesel::dsl::AsExprOf<Vec<V>, diesel::sql_types::Array<T>>>
where
    T: diesel::sql_types::SqlType + diesel::expression::TypedExpressionType,
    diesel::sql_types::Array<T>:
        diesel::sql_types::SqlType + diesel::expression::TypedExpressionType,
    Vec<V>: diesel::expression::AsExpression<diesel::sql_types::Array<T>>,
{
    Column(diesel::expression::AsExpression::as_expression(values))
}
