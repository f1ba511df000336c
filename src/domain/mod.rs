//! Pure rules of orders, reservations and payments: no I/O. The services and the model in
//! `tests/model` share them.

mod change_reason;
pub mod ledger;
mod order_state;
pub mod payment;
pub mod retention;
pub mod saga;
mod step;
