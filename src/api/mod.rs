//! The types that travel between a service and its clients. A service and its client share one
//! struct for each body, so that they cannot disagree.
//!
//! Request types implement [`FromFields`](crate::platform::http::extract::FromFields) instead of
//! `Deserialize`: the answer to an invalid request names every wrong field, not only the first.

mod fields;
mod inventory;
mod orders;
mod payments;
mod retention;
pub mod story;

pub use fields::{MAX_STOCK, is_product_id, product_path};
pub use inventory::{
    CreateProduct, Deliver, Delivery, Release, Released, Reserve, Reserved, Ship, Shipped, Stock,
};
pub use orders::{
    FailureReason, FollowOrders, ListOrders, MAX_PAGE_LENGTH, Obligation, Order, OrderChange,
    OrderDetail, OrderEvent, OrderPage, OrderStatus, OrderStep, PlaceOrder,
};
pub use payments::{Charge, Payment, PaymentStatus, PaymentsOfOrder, Void};
pub use retention::{
    Forget, Forgotten, MAX_FORGOTTEN_ORDERS, MAX_RETENTION_DAYS, RETENTION_PAUSE_FACTOR,
    RefusedOrder, RetentionStep, RetentionStepDone,
};
