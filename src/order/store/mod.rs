//! Order's tables.
//!
//! The statement that changes an order's state is a compare-and-set on its epoch, and also writes
//! the event. Inserts and transitions that wait at the same time share one statement.

mod duration;
mod events;
mod insert;
mod intervention;
mod lookup;
mod order_row;
mod pagination;
mod position;
mod recovery_queue;
mod response;
mod retention;
mod snapshot;
mod transition;

pub use events::{
    ChangeRow, EventRow, changes, current_snapshot, events, has_forgotten_after, position_at,
};
pub use insert::{INSERT, NewOrder};
pub use intervention::{Intervention, intervene};
pub use lookup::{KeyedOrder, find, find_by_key};
pub use order_row::OrderRow;
pub use pagination::{Cursor, Filter, InvalidCursor, list};
pub use position::{InvalidPosition, Position};
pub use recovery_queue::{
    Claim, Claimed, Queue, backlog, claim, claim_one, forget_keys, release_lease, wake,
};
pub use response::store_confirmed_response;
pub use retention::{
    LeavingOrder, PageRow, RetentionPage, claim_leaving, count_refused, count_rows, delete_orders,
    find_old, mark_leaving, store_refusals,
};
pub use snapshot::Snapshot;
pub use transition::{OrderTransition, TRANSITION};
