//! How long database work may take.

use std::time::Duration;

/// Upper bound on a piece of database work, including the wait for a connection.
pub const WORK_TIMEOUT: Duration = Duration::from_secs(3);
/// The server ends a statement after this time. It does not cover the commit that follows.
pub const STATEMENT_TIMEOUT: Duration = Duration::from_millis(1500);
/// The server rejects a statement that waits this long for a lock of another session.
pub const LOCK_TIMEOUT: Duration = Duration::from_millis(100);
/// The server ends a session that sends nothing for this long. Longer than a pool keeps an idle
/// connection, and far shorter than the shortest retention of an order.
pub const IDLE_SESSION_TIMEOUT: Duration = Duration::from_secs(3600);
/// How long the statement and the commit of a change may take. A change whose outcome a client
/// waits for is not started with less time left, because its outcome would probably be unknown.
pub const CHANGE_TIMEOUT: Duration = STATEMENT_TIMEOUT.saturating_add(Duration::from_millis(500));
/// Upper bound on the wait for a free connection of the pool.
pub const CHECKOUT_TIMEOUT: Duration = Duration::from_secs(1);
