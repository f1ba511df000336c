//! Applies the rules of the ledger to a batch of requests, in memory and one after the other.
//!
//! No I/O: the store loads the rows, locked, and writes those that have changed. The property tests
//! in `tests/ledger.rs` compare a batch with requests that are applied one by one.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::requests::{
    ReleaseOutcome, ReleaseRequest, ReserveOutcome, ReserveRequest, ShipOutcome, ShipRequest,
};
use super::stock_level::{StockDelta, StockLevel, TrackedLevel};
use crate::domain::ledger;
use crate::domain::ledger::{Entry, Goods, ReleasePlan, ReservationState, ReservePlan, ShipPlan};
use crate::platform::unknown_variant::UnknownVariant;

/// An entry of the ledger that has to be written.
#[derive(Debug, PartialEq, Eq)]
pub struct ChangedEntry<'a> {
    pub order_id: Uuid,
    pub entry: &'a Entry,
    /// The database has no row of the order yet.
    pub is_new: bool,
}

/// The entries and products that a batch of requests is about.
#[derive(Debug, Default)]
pub struct LedgerBatch {
    entries: BTreeMap<Uuid, TrackedEntry>,
    /// Entries in a state that this version does not know. Requests leave them as they are.
    unknown: BTreeMap<Uuid, UnknownVariant>,
    products: BTreeMap<String, TrackedLevel>,
}

#[derive(Debug)]
struct TrackedEntry {
    entry: Entry,
    is_new: bool,
    is_changed: bool,
}

impl LedgerBatch {
    /// Makes a batch from all existing rows that its requests are about. An entry is an error if
    /// this version does not know its state.
    #[must_use]
    pub fn new(
        entries: impl IntoIterator<Item = (Uuid, Result<Entry, UnknownVariant>)>,
        products: impl IntoIterator<Item = (String, StockLevel)>,
    ) -> Self {
        let mut batch = Self::default();
        for (order_id, entry) in entries {
            match entry {
                Ok(entry) => {
                    let entry = TrackedEntry {
                        entry,
                        is_new: false,
                        is_changed: false,
                    };
                    batch.entries.insert(order_id, entry);
                }
                Err(unknown) => {
                    batch.unknown.insert(order_id, unknown);
                }
            }
        }
        for (product_id, level) in products {
            batch.products.insert(product_id, TrackedLevel::new(level));
        }
        batch
    }

    /// Applies a reserve, and returns its outcome.
    pub fn reserve(&mut self, request: &ReserveRequest) -> ReserveOutcome {
        let ReserveRequest {
            order_id,
            epoch,
            goods,
        } = request;
        if let Some(unknown) = self.unknown.get(order_id) {
            return ReserveOutcome::UnknownState(unknown.clone());
        }
        let plan = ledger::reserve(self.entry(*order_id), *epoch, goods);
        let Some(TrackedLevel { now: level, .. }) = self.products.get_mut(&goods.product_id) else {
            return self.reserve_unknown_product(plan, *order_id, *epoch);
        };
        match plan {
            ReservePlan::Take if level.stock >= goods.quantity => {
                level.move_to_reserved(goods.quantity);
                let held = level.held();
                self.record(*order_id, *epoch, ReservationState::Held, Some(goods));
                held
            }
            ReservePlan::Take => {
                self.raise_epoch_of_released(*order_id, *epoch);
                ReserveOutcome::InsufficientStock
            }
            ReservePlan::KeepHeld => {
                let held = level.held();
                self.record(*order_id, *epoch, ReservationState::Held, Some(goods));
                held
            }
            ReservePlan::AlreadyHeld => level.held(),
            ReservePlan::Stale => ReserveOutcome::StaleEpoch,
            ReservePlan::AlreadyShipped => ReserveOutcome::AlreadyShipped,
            ReservePlan::Mismatch => ReserveOutcome::Mismatch,
        }
    }

    fn reserve_unknown_product(
        &mut self,
        plan: ReservePlan,
        order_id: Uuid,
        epoch: i32,
    ) -> ReserveOutcome {
        match plan {
            ReservePlan::Stale => ReserveOutcome::StaleEpoch,
            ReservePlan::AlreadyShipped => ReserveOutcome::AlreadyShipped,
            ReservePlan::Mismatch => ReserveOutcome::Mismatch,
            ReservePlan::Take => {
                self.raise_epoch_of_released(order_id, epoch);
                ReserveOutcome::UnknownProduct
            }
            // The order holds units of a product whose row was deleted later.
            ReservePlan::KeepHeld | ReservePlan::AlreadyHeld => ReserveOutcome::UnknownProduct,
        }
    }

    /// Applies a release, and returns its outcome.
    pub fn release(&mut self, request: ReleaseRequest) -> ReleaseOutcome {
        let ReleaseRequest { order_id, epoch } = request;
        if let Some(unknown) = self.unknown.get(&order_id) {
            return ReleaseOutcome::UnknownState(unknown.clone());
        }
        let entry = self.entry(order_id);
        let epoch = epoch
            .or_else(|| entry.map(|entry| entry.epoch))
            .unwrap_or(1);
        match ledger::release(entry, epoch) {
            ReleasePlan::Ignore => ReleaseOutcome::Released(0),
            ReleasePlan::Tombstone | ReleasePlan::RaiseEpoch => {
                self.record(order_id, epoch, ReservationState::Released, None);
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
            // The schema does not allow a held row without goods.
            self.record(order_id, epoch, ReservationState::Released, None);
            return ReleaseOutcome::Released(0);
        };
        // If the product's row was deleted, only the reservation is left to release.
        if let Some(TrackedLevel { now: level, .. }) = self.products.get_mut(&product_id) {
            if level.reserved < quantity {
                return ReleaseOutcome::MoreThanReserved {
                    held: quantity,
                    reserved: level.reserved,
                };
            }
            level.move_to_reserved(-quantity);
        }
        self.record(order_id, epoch, ReservationState::Released, None);
        ReleaseOutcome::Released(quantity)
    }

    /// Applies a ship, and returns its outcome.
    pub fn ship(&mut self, request: ShipRequest) -> ShipOutcome {
        let ShipRequest { order_id, epoch } = request;
        if let Some(unknown) = self.unknown.get(&order_id) {
            return ShipOutcome::UnknownState(unknown.clone());
        }
        let entry = self.entry(order_id);
        let epoch = epoch
            .or_else(|| entry.map(|entry| entry.epoch))
            .unwrap_or(1);
        let plan = ledger::ship(entry, epoch);
        // The schema allows a row without goods only if it is released.
        let goods = entry.and_then(|entry| entry.goods.clone());
        match (plan, goods) {
            (ShipPlan::Stale, _) => ShipOutcome::StaleEpoch,
            (ShipPlan::NothingHeld, _) | (_, None) => ShipOutcome::NothingHeld,
            (ShipPlan::AlreadyShipped, Some(goods)) => ShipOutcome::Shipped(goods),
            (ShipPlan::Ship, Some(goods)) => self.take_out(order_id, epoch, goods),
        }
    }

    /// Ships what an order holds. Goods of a product whose row was deleted, or has too little
    /// reserved, stay held, so that they can be shipped once the row is corrected.
    fn take_out(&mut self, order_id: Uuid, epoch: i32, goods: Goods) -> ShipOutcome {
        let level = self.products.get_mut(&goods.product_id);
        let reserved = level.as_ref().map_or(0, |level| level.now.reserved);
        match level {
            Some(level) if reserved >= goods.quantity => level.ship(goods.quantity),
            _ => {
                return ShipOutcome::MoreThanReserved {
                    held: goods.quantity,
                    reserved,
                };
            }
        }
        self.record(order_id, epoch, ReservationState::Shipped, None);
        ShipOutcome::Shipped(goods)
    }

    fn entry(&self, order_id: Uuid) -> Option<&Entry> {
        Some(&self.entries.get(&order_id)?.entry)
    }

    /// Raises the epoch of an order that holds nothing, so that requests of earlier attempts are
    /// stale. An order without an entry does not get one.
    fn raise_epoch_of_released(&mut self, order_id: Uuid, epoch: i32) {
        if self.entries.contains_key(&order_id) {
            self.record(order_id, epoch, ReservationState::Released, None);
        }
    }

    /// Changes the order's entry, or adds one. Without `goods`, those of the entry stay.
    fn record(
        &mut self,
        order_id: Uuid,
        epoch: i32,
        state: ReservationState,
        goods: Option<&Goods>,
    ) {
        let tracked = self
            .entries
            .entry(order_id)
            .or_insert_with(|| TrackedEntry {
                entry: Entry {
                    epoch,
                    state,
                    goods: None,
                },
                is_new: true,
                is_changed: true,
            });
        tracked.is_changed = true;
        tracked.entry.epoch = epoch;
        tracked.entry.state = state;
        if let Some(goods) = goods {
            tracked.entry.goods = Some(goods.clone());
        }
    }

    /// The entries that have to be written, ordered by order id.
    pub fn changed_entries(&self) -> impl Iterator<Item = ChangedEntry<'_>> {
        let changed = self
            .entries
            .iter()
            .filter(|(_, tracked)| tracked.is_changed);
        changed.map(|(order_id, tracked)| ChangedEntry {
            order_id: *order_id,
            entry: &tracked.entry,
            is_new: tracked.is_new,
        })
    }

    /// The units to move of each product whose level has changed, ordered by product id.
    pub fn stock_deltas(&self) -> impl Iterator<Item = StockDelta<'_>> {
        let products = self.products.iter();
        products.filter_map(|(product_id, level)| level.delta(product_id))
    }
}

#[cfg(test)]
mod tests;
