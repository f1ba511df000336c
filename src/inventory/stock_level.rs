//! The units of a product, and those of them that a batch moves.

use super::requests::ReserveOutcome;

/// Units of one product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StockLevel {
    /// Units that can still be reserved.
    pub stock: i32,
    /// Units held for orders.
    pub reserved: i32,
}

impl StockLevel {
    /// Moves units from stock to reserved. Negative units move back.
    pub const fn move_to_reserved(&mut self, units: i32) {
        self.stock -= units;
        self.reserved += units;
    }

    /// The outcome of a reserve that left the product at this level.
    #[must_use]
    pub const fn held(&self) -> ReserveOutcome {
        ReserveOutcome::Held {
            stock: self.stock,
            reserved: self.reserved,
        }
    }
}

/// The units of one product that a batch of requests moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StockDelta<'a> {
    pub product_id: &'a str,
    /// Units that move from stock to reserved. Negative units move back.
    pub reserving: i32,
    /// Units that leave reserved because their orders are shipped. Never negative.
    pub shipping: i32,
}

/// A product's level before a batch and now. A batch needs no total of the units that were shipped
/// before it: it only counts its own.
#[derive(Debug)]
pub(super) struct TrackedLevel {
    before: StockLevel,
    pub(super) now: StockLevel,
    shipping: i32,
}

impl TrackedLevel {
    pub(super) const fn new(level: StockLevel) -> Self {
        Self {
            before: level,
            now: level,
            shipping: 0,
        }
    }

    /// Takes units out of reserved.
    pub(super) const fn ship(&mut self, units: i32) {
        self.now.reserved -= units;
        self.shipping += units;
    }

    /// The units that the batch has moved so far; `None` if it has moved none.
    pub(super) fn delta<'a>(&self, product_id: &'a str) -> Option<StockDelta<'a>> {
        let delta = StockDelta {
            product_id,
            reserving: self.before.stock - self.now.stock,
            shipping: self.shipping,
        };
        (delta.reserving != 0 || delta.shipping != 0).then_some(delta)
    }
}
