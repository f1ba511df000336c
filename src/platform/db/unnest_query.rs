//! A hand-written statement about many given rows, prepared once on each connection.
//!
//! Diesel prepares `sql_query` anew each time, and its query builder has no arrays side by side; so
//! the statement is a type of its own, by which its prepared form is found again. The rows come as
//! one array for each column.
//!
//! What a changing statement returns must be read to its end (`load`, never `get_result`): the
//! server sends rows before it commits, and only the end of the answer says that the change is
//! stored.

use std::marker::PhantomData;

use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};

/// What is done with the rows `given`.
pub trait Statement: Send + 'static {
    /// The columns of `given`, in the order of the arrays.
    const COLUMNS: &'static str;
    /// What follows `WITH given AS (…)`: further `name AS (…)`, each after a comma, or the last
    /// statement.
    ///
    /// The planner does not know how many rows there are, nor how large a table will be when the
    /// plan is used again: restrict each table by `= ANY ($n)`, the array of the nth column, so
    /// that no plan can read the whole of it.
    const TEXT: &'static str;
    /// SQL types of the columns that come back.
    type Returns;
}

/// A statement with its rows.
pub struct Given<S, A> {
    arrays: A,
    statement: PhantomData<S>,
}

impl<S: Statement, A> Given<S, A> {
    /// `arrays` are one bound array for each column.
    pub const fn new(arrays: A) -> Self {
        Self {
            arrays,
            statement: PhantomData,
        }
    }
}

impl<S: Statement, A: QueryFragment<Pg>> QueryFragment<Pg> for Given<S, A> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("WITH given (");
        out.push_sql(S::COLUMNS);
        out.push_sql(") AS (SELECT * FROM unnest(");
        self.arrays.walk_ast(out.reborrow())?;
        out.push_sql(")) ");
        out.push_sql(S::TEXT);
        Ok(())
    }
}

impl<S: Statement, A> QueryId for Given<S, A> {
    // The text does not depend on the values.
    type QueryId = S;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<S: Statement, A> Query for Given<S, A> {
    type SqlType = S::Returns;
}

/// An array of a statement's column, by its SQL type.
#[must_use]
pub fn array<T, V>(values: Vec<V>) -> diesel::dsl::AsExprOf<Vec<V>, diesel::sql_types::Array<T>>
where
    T: diesel::sql_types::SqlType + diesel::expression::TypedExpressionType,
    diesel::sql_types::Array<T>:
        diesel::sql_types::SqlType + diesel::expression::TypedExpressionType,
    Vec<V>: diesel::expression::AsExpression<diesel::sql_types::Array<T>>,
{
    diesel::expression::AsExpression::as_expression(values)
}
