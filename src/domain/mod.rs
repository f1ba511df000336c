//! The rules of orders, reservations and payments, without I/O. The model in `tests/model` explores
//! the same code.

pub mod ledger;
pub mod payment;
pub mod saga;
