//! An invariant, and the statements that check it.

/// An invariant, and the queries that check it.
///
/// `{settled_failure}`, `{unfinished}` and `{leaving}` stand for conditions on an order `o`, and
/// `{bound}` for the recovery bound in seconds.
pub struct InvariantQuery {
    pub name: &'static str,
    pub meaning: &'static str,
    /// Selects the rows to check, as `id`.
    pub(super) checked: &'static str,
    /// Selects those that violate the invariant, as `id`.
    pub(super) violations: &'static str,
}

/// A condition on an order `o`: it failed, and owes nothing.
pub const SETTLED_FAILURE: &str =
    "(o.status = 'FAILED' AND o.release_owed_epoch IS NULL AND NOT o.refund_owed)";
const UNFINISHED: &str = "(o.status IN ('PENDING', 'PENDING_INVENTORY', 'PENDING_PAYMENT'))";

/// A condition on an order `o`: retention is deleting it. Inventory and payment may have deleted
/// their rows already.
pub const LEAVING: &str = "EXISTS (SELECT FROM leaving_orders l WHERE l.order_id = o.id)";

impl InvariantQuery {
    /// Counts the checked rows and the violations, and selects examples of the violations.
    pub fn statement(&self, bound_seconds: u64, max_examples: usize) -> String {
        let bound = bound_seconds.to_string();
        let (checked, violations) = (fill(self.checked, &bound), fill(self.violations, &bound));
        format!(
            "WITH violations AS ({violations})
             SELECT (SELECT count(*) FROM ({checked}) AS checked) AS checked,
                    (SELECT count(*) FROM violations) AS violations,
                    ARRAY(SELECT COALESCE(id::text, 'NULL') FROM violations
                          ORDER BY 1 LIMIT {max_examples}) AS examples"
        )
    }

    /// Selects all violations of an invariant whose rows are orders: the order's id as `order_id`,
    /// and its epoch. The epoch is NULL for an order that does not exist or is leaving.
    pub fn violating_orders(&self) -> String {
        let violations = fill(self.violations, "NULL");
        format!(
            "SELECT violations.id AS order_id, orders.epoch FROM ({violations}) AS violations
             LEFT JOIN (SELECT id, epoch FROM orders o WHERE NOT {LEAVING}) AS orders USING (id)"
        )
    }
}

fn fill(query: &str, bound_seconds: &str) -> String {
    query
        .replace("{settled_failure}", SETTLED_FAILURE)
        .replace("{unfinished}", UNFINISHED)
        .replace("{leaving}", LEAVING)
        .replace("{bound}", bound_seconds)
}
