//! Inventory's tables.
//!
//! An order's row of the ledger and the stock of its product change in one transaction, for several
//! requests of a batch at a time. Conditions in the statement that moves units, such as
//! `stock >= reserving`, turn a bug into an error, never into negative stock.
//!
//! Every transaction takes its locks in the same order: first ledger rows by order id, then
//! products by id, then new ledger rows by order id. So no two batches, of this process or of
//! another, can deadlock. A delivery locks one product, and then adds its own row. A deletion of
//! old rows locks ledger rows, and then its counts by product id; it locks no product.

mod deliveries;
mod forget;
mod ledger;
mod locks;
mod release;
mod reserve;
mod ship;
mod stock;

pub use deliveries::deliver;
pub use forget::forget;
pub use release::{RELEASE, ReleaseBatcher};
pub use reserve::ReserveBatcher;
pub use ship::{SHIP, ShipBatcher};
pub use stock::{Created, StockRow, create, find, list};
