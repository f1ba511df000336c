//! Upper bounds of database work, from the widest to the narrowest.

use std::time::Duration;

/// Time for one piece of database work, waiting for a connection included.
pub const WORK_TIMEOUT: Duration = Duration::from_secs(3);
/// The server gives a statement up after this. It does not count the commit that follows.
pub const STATEMENT_TIMEOUT: Duration = Duration::from_millis(1500);
/// The server waits this long for a lock that another session holds, then refuses the statement.
pub const LOCK_TIMEOUT: Duration = Duration::from_millis(100);
/// Time that a change needs in the worst ordinary case: its statement, and its commit. A change
/// whose outcome matters to a client is not begun with less time left, because its outcome would
/// probably be unknown.
pub const CHANGE_TIMEOUT: Duration = STATEMENT_TIMEOUT.saturating_add(Duration::from_millis(500));
/// Time to wait for a free connection of the pool.
pub const CHECKOUT_TIMEOUT: Duration = Duration::from_secs(1);
