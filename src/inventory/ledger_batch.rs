//! What a batch of messages does to the books: the rules of the ledger, applied to one message
//! after the other in memory. Pure: the store reads the rows, locked, and writes what has changed;
//! the tests compare it with a reference.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::domain::ledger;
use crate::domain::ledger::{Entry, Goods, Hold, ReleasePlan, ReservePlan};

/// A message about one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserve {
    pub order_id: Uuid,
    pub epoch: i32,
    pub goods: Goods,
}

/// Without an epoch: whatever the order holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Release {
    pub order_id: Uuid,
    pub epoch: Option<i32>,
}

/// How a reserve ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReserveOutcome {
    Held {
        stock: i32,
        reserved: i32,
    },
    InsufficientStock,
    UnknownProduct,
    Stale,
    OtherGoods,
    /// The ledger's row is in a state that this release does not know.
    Unrecognized,
}

/// How a release ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseOutcome {
    /// So many units came back; none where nothing was held.
    Released(i32),
    /// The product's `reserved` is less than the order holds: somebody changed one without the
    /// other. Giving the stock back would make it negative.
    MoreThanReserved { held: i32, reserved: i32 },
    /// The ledger's row is in a state that this release does not know.
    Unrecognized,
}

/// A product's figures, and by how much they moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shelf {
    pub stock: i32,
    pub reserved: i32,
    /// Taken from stock since the books were opened; negative when more came back.
    pub taken: i32,
}

impl Shelf {
    #[must_use]
    pub const fn new(stock: i32, reserved: i32) -> Self {
        Self {
            stock,
            reserved,
            taken: 0,
        }
    }

    pub const fn take(&mut self, quantity: i32) {
        self.stock -= quantity;
        self.reserved += quantity;
        self.taken += quantity;
    }

    #[must_use]
    pub const fn held(&self) -> ReserveOutcome {
        ReserveOutcome::Held {
            stock: self.stock,
            reserved: self.reserved,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    entry: Entry,
    /// Not in the database yet.
    new: bool,
    changed: bool,
}

/// A row of the ledger to write.
#[derive(Debug, PartialEq, Eq)]
pub struct Written<'a> {
    pub order_id: Uuid,
    pub entry: &'a Entry,
    pub new: bool,
}

/// The rows that a batch is about.
#[derive(Debug, Default)]
pub struct Books {
    rows: BTreeMap<Uuid, Row>,
    products: BTreeMap<String, Shelf>,
}

impl Books {
    /// All the ledger has of the orders, and all that is known of the products, that the messages
    /// are about.
    #[must_use]
    pub fn new(
        entries: impl IntoIterator<Item = (Uuid, Entry)>,
        products: impl IntoIterator<Item = (String, Shelf)>,
    ) -> Self {
        let row = |(order_id, entry)| {
            (
                order_id,
                Row {
                    entry,
                    new: false,
                    changed: false,
                },
            )
        };
        Self {
            rows: entries.into_iter().map(row).collect(),
            products: products.into_iter().collect(),
        }
    }

    pub fn reserve(&mut self, message: &Reserve) -> ReserveOutcome {
        let Reserve {
            order_id,
            epoch,
            goods,
        } = message;
        let entry = self.rows.get(order_id).map(|row| &row.entry);
        let plan = ledger::reserve(entry, *epoch, goods);
        let Some(product) = self.products.get_mut(&goods.product_id) else {
            return self.unknown_product(plan, *order_id, *epoch);
        };
        match plan {
            ReservePlan::Take if product.stock >= goods.quantity => {
                product.take(goods.quantity);
                let held = product.held();
                self.write(*order_id, *epoch, Hold::Held, Some(goods));
                held
            }
            ReservePlan::Take => {
                self.stamp(*order_id, *epoch);
                ReserveOutcome::InsufficientStock
            }
            ReservePlan::Restamp => {
                let held = product.held();
                self.write(*order_id, *epoch, Hold::Held, Some(goods));
                held
            }
            ReservePlan::AlreadyHeld => product.held(),
            ReservePlan::Stale => ReserveOutcome::Stale,
            ReservePlan::OtherGoods => ReserveOutcome::OtherGoods,
            ReservePlan::Unrecognized => ReserveOutcome::Unrecognized,
        }
    }

    fn unknown_product(&mut self, plan: ReservePlan, order_id: Uuid, epoch: i32) -> ReserveOutcome {
        match plan {
            ReservePlan::Stale => ReserveOutcome::Stale,
            ReservePlan::OtherGoods => ReserveOutcome::OtherGoods,
            ReservePlan::Unrecognized => ReserveOutcome::Unrecognized,
            ReservePlan::Take => {
                self.stamp(order_id, epoch);
                ReserveOutcome::UnknownProduct
            }
            // Held of a product that was struck off the list since.
            ReservePlan::Restamp | ReservePlan::AlreadyHeld => ReserveOutcome::UnknownProduct,
        }
    }

    pub fn release(&mut self, message: Release) -> ReleaseOutcome {
        let Release { order_id, epoch } = message;
        let entry = self.rows.get(&order_id).map(|row| &row.entry);
        let epoch = epoch
            .or_else(|| entry.map(|entry| entry.epoch))
            .unwrap_or(1);
        match ledger::release(entry, epoch) {
            ReleasePlan::Nothing => ReleaseOutcome::Released(0),
            ReleasePlan::Unrecognized => ReleaseOutcome::Unrecognized,
            ReleasePlan::Tombstone | ReleasePlan::Stamp => {
                self.write(order_id, epoch, Hold::Released, None);
                ReleaseOutcome::Released(0)
            }
            ReleasePlan::GiveBack => {
                let goods = entry.and_then(|entry| entry.goods.clone());
                self.give_back(order_id, epoch, goods)
            }
        }
    }

    fn give_back(&mut self, order_id: Uuid, epoch: i32, goods: Option<Goods>) -> ReleaseOutcome {
        let Some(Goods {
            product_id,
            quantity,
        }) = goods
        else {
            self.write(order_id, epoch, Hold::Released, None);
            return ReleaseOutcome::Released(0);
        };
        if let Some(product) = self.products.get_mut(&product_id) {
            if product.reserved < quantity {
                return ReleaseOutcome::MoreThanReserved {
                    held: quantity,
                    reserved: product.reserved,
                };
            }
            product.take(-quantity);
        }
        self.write(order_id, epoch, Hold::Released, None);
        ReleaseOutcome::Released(quantity)
    }

    /// A reserve that found nothing: what the ledger has of the order belongs to its epoch from now
    /// on.
    fn stamp(&mut self, order_id: Uuid, epoch: i32) {
        if self.rows.contains_key(&order_id) {
            self.write(order_id, epoch, Hold::Released, None);
        }
    }

    /// Goods that are not given stay as they are.
    fn write(&mut self, order_id: Uuid, epoch: i32, hold: Hold, goods: Option<&Goods>) {
        let row = self.rows.entry(order_id).or_insert_with(|| Row {
            entry: Entry {
                epoch,
                hold,
                goods: None,
            },
            new: true,
            changed: true,
        });
        row.changed = true;
        row.entry.epoch = epoch;
        row.entry.hold = hold;
        if let Some(goods) = goods {
            row.entry.goods = Some(goods.clone());
        }
    }

    /// The rows to write, by order.
    pub fn written(&self) -> impl Iterator<Item = Written<'_>> {
        let changed = self.rows.iter().filter(|(_, row)| row.changed);
        changed.map(|(order_id, row)| Written {
            order_id: *order_id,
            entry: &row.entry,
            new: row.new,
        })
    }

    /// What was taken of each product that moved, by product.
    pub fn taken(&self) -> impl Iterator<Item = (&str, i32)> {
        let moved = self
            .products
            .iter()
            .filter(|(_, product)| product.taken != 0);
        moved.map(|(product_id, product)| (product_id.as_str(), product.taken))
    }
}
