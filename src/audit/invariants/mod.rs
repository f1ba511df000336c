//! The invariants in SQL.
//!
//! An order is *settled* once it is `CONFIRMED`, or `FAILED` and owes nothing. Before that its
//! reservation and its payment may be ahead of it, so an invariant about the rows that an order
//! must have looks at settled orders only. A confirmed order that owes a shipment is settled in
//! this sense: its reservation may be shipped already, and nothing else is open. A row in a state
//! that this version does not know violates `states-are-known`; the other invariants would not
//! notice it.
//!
//! No statement may fail because of a row's values, even if the constraints of the schema were
//! dropped. So sums are computed in bigint, and a comparison with NULL counts as a violation.

mod agreement;
mod query;
mod rows;
mod stock;

pub use agreement::AGREEMENT;
pub use query::{InvariantQuery, LEAVING, SETTLED_FAILURE};

/// All invariants, in the order of a report.
pub fn all() -> impl Iterator<Item = &'static InvariantQuery> {
    [stock::STOCK, AGREEMENT, rows::ROWS].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_statement_has_a_placeholder_left() {
        for query in all() {
            let statement = query.statement(60, 5);
            assert!(!statement.contains(['{', '}']), "{statement}");
        }
    }

    #[test]
    fn no_two_invariants_have_the_same_name() {
        let names: HashSet<_> = all().map(|query| query.name).collect();
        assert_eq!(names.len(), all().count());
    }
}
