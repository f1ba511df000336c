//! The live stream: the changes of all orders, made by any replica.
//!
//! A process reads the changes from the database once, for all its listeners, and only while it
//! has one. Its reader keeps a [`Position`](crate::order::store::Position), the exact set of
//! changes that it has read. Each poll takes a snapshot of the database and reads the changes that
//! this snapshot sees and the position does not contain. So a change is read by the first poll
//! after its commit, however long its transaction was open.
//!
//! A listener that resumes, or that fell behind, reads what it has missed up to the reader's
//! snapshot from the database, and then continues with what the reader reads after it.

mod buffer;
mod entry;
pub mod feed;
mod listener;
mod reader;
mod shared;
pub mod sse;
