//! Bodies of the deletion of old orders.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::platform::http::extract::{Fields, FromFields, boolean, integer, text, uuids};

/// Upper bound on the orders of one request that deletes their rows.
pub const MAX_FORGOTTEN_ORDERS: usize = 200;
/// A hundred years.
pub const MAX_RETENTION_DAYS: u32 = 36_500;

/// The pause after a step is this many times as long as the step, so that a run works for at most a
/// fifth of its time.
pub const RETENTION_PAUSE_FACTOR: u32 = 4;

/// `POST /inventory/forget` and `POST /payments/forget`
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct Forget {
    /// Orders that have failed and owe nothing.
    #[schema(value_type = Option<Vec<Uuid>>, max_items = 200)]
    pub failed: Vec<Uuid>,
    /// Orders whose goods have left.
    #[schema(value_type = Option<Vec<Uuid>>, max_items = 200)]
    pub fulfilled: Vec<Uuid>,
    /// Count what would be deleted, and delete nothing; false when absent.
    #[schema(value_type = Option<bool>)]
    pub dry_run: bool,
}

impl FromFields for Forget {
    fn from_fields(fields: &mut Fields) -> Self {
        let mut orders = |name| fields.optional(name, uuids(MAX_FORGOTTEN_ORDERS));
        Self {
            failed: orders("failed").unwrap_or_default(),
            fulfilled: orders("fulfilled").unwrap_or_default(),
            dry_run: fields.optional("dry_run", boolean).unwrap_or_default(),
        }
    }
}

/// The rows that a service has deleted, or would delete.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct Forgotten {
    pub rows: i64,
    /// Size of these rows, without their indexes.
    pub bytes: i64,
    /// Orders whose row contradicts how they ended. Their rows stay.
    pub refused: Vec<RefusedOrder>,
}

/// An order whose row was not deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RefusedOrder {
    pub order_id: Uuid,
    /// The state of the row.
    #[schema(example = "HELD")]
    pub state: String,
}

/// `POST /retention/steps`
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct RetentionStep {
    /// Age of an order's last change in days; `RETENTION_DAYS` of the service when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 36_500)]
    pub older_than_days: Option<u32>,
    /// Count what would be deleted, and delete nothing; false when absent.
    #[schema(value_type = Option<bool>)]
    pub dry_run: bool,
    /// Continue after the step that returned this `next_cursor`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^(FAILED|CONFIRMED)(-(0|[1-9][0-9]{0,15})-[0-9a-f]{32})?$")]
    pub cursor: Option<String>,
}

impl FromFields for RetentionStep {
    fn from_fields(fields: &mut Fields) -> Self {
        let days = integer(1..=MAX_RETENTION_DAYS);
        Self {
            older_than_days: fields.optional("older_than_days", days),
            dry_run: fields.optional("dry_run", boolean).unwrap_or_default(),
            cursor: fields.optional("cursor", text(1..=80)),
        }
    }
}

/// The rows that one step has deleted, or would delete.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct RetentionStepDone {
    pub orders: i64,
    pub events: i64,
    pub reservations: i64,
    pub payments: i64,
    /// Size of all these rows, without their indexes.
    pub bytes: i64,
    /// Orders that stay, because a row of inventory or payment contradicts how they ended. The
    /// audit reports them. A dry run counts those of each step. Otherwise, only the last step of a
    /// run counts them, and counts those that stay from earlier runs too.
    pub refused: i64,
    /// Orders that will leave with a later step, because inventory or payment did not answer.
    pub waiting: i64,
    /// Pass this to the next step; null after the last one.
    pub next_cursor: Option<String>,
}
