//! Upper bounds of database work, from the widest to the narrowest.

use std::time::Duration;

/// One piece of database work, the wait for a connection included.
pub const WORK_TIMEOUT: Duration = Duration::from_secs(3);
/// The server ends a statement after this time. It does not cover the commit that follows.
pub const STATEMENT_TIMEOUT: Duration = Duration::from_millis(1500);
/// The server rejects a statement that waits this long for a lock of another session.
pub const LOCK_TIMEOUT: Duration = Duration::from_millis(100);
/// Time for the statement and the commit of a change. A change whose outcome matters to a client is
/// not started with less time left, because its outcome would probably be unknown.
pub const CHANGE_TIMEOUT: Duration = STATEMENT_TIMEOUT.saturating_add(Duration::from_millis(500));
/// The wait for a free connection of the pool.
pub const CHECKOUT_TIMEOUT: Duration = Duration::from_secs(1);
