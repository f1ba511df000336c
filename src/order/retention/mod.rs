//! Retention: orders that are over, and older than a chosen age, leave with their events, their
//! reservations and their payments.
//!
//! A run looks at all old orders, page by page ([`cursor`]). Each [`step`] marks the orders of a
//! page that leave, lets inventory and payment delete their rows, and then deletes the orders. The
//! [`worker`] makes runs in the background. `docs/adr/0012-old-orders-leave.md` has the reasons.

pub mod cursor;
mod limits;
pub mod step;
pub mod worker;

pub use limits::{RetentionLimits, min_retention_days};
