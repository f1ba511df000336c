//! The reservation ledger: decides what a reserve, a release or a ship does, from the ledger's row
//! of its order. Pure rules, which the service and the model in `tests/model` share.
//!
//! The epoch is a fencing token. Each takeover of an order raises it, so that a late message of an
//! earlier attempt can neither release what a later attempt holds nor take stock for an order that
//! has failed.

use strum::{Display, EnumString, IntoStaticStr, VariantArray};

/// The state of a reservation.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr, VariantArray,
)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE", const_into_str)]
pub enum ReservationState {
    Held,
    Released,
    /// The goods have left. Nothing changes the row any more.
    Shipped,
}

impl ReservationState {
    /// The text in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }
}

/// The product and the units that an order reserves.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Goods {
    pub product_id: String,
    pub quantity: i32,
}

/// The ledger's row of an order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Entry {
    pub epoch: i32,
    pub state: ReservationState,
    /// `None` where a release arrived before any reserve.
    pub goods: Option<Goods>,
}

/// The effect of a reserve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReservePlan {
    /// Take the stock and hold it at the request's epoch. If there is not enough, only raise the
    /// epoch of a row that exists.
    Take,
    /// The order holds the stock already: keep it held, and raise the row's epoch.
    KeepHeld,
    /// The order holds the stock already, at the request's epoch.
    AlreadyHeld,
    /// A later attempt has written the row, or this attempt has released.
    Stale,
    /// The order's goods have left. It can reserve nothing more.
    AlreadyShipped,
    /// The order's reservation is of another product or quantity.
    Mismatch,
}

/// Decides what a reserve at `epoch` does. `entry` is the order's row.
#[must_use]
pub fn reserve(entry: Option<&Entry>, epoch: i32, goods: &Goods) -> ReservePlan {
    let Some(entry) = entry else {
        return ReservePlan::Take;
    };
    if entry.epoch > epoch {
        return ReservePlan::Stale;
    }
    if entry.goods.as_ref().is_some_and(|held| held != goods) {
        return ReservePlan::Mismatch;
    }
    match (entry.epoch == epoch, entry.state) {
        (true, ReservationState::Held) => ReservePlan::AlreadyHeld,
        (true, ReservationState::Released) => ReservePlan::Stale,
        (false, ReservationState::Held) => ReservePlan::KeepHeld,
        (false, ReservationState::Released) => ReservePlan::Take,
        (_, ReservationState::Shipped) => ReservePlan::AlreadyShipped,
    }
}

/// The effect of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleasePlan {
    /// Insert a released row, a tombstone, so that a reserve that arrives later finds it.
    Tombstone,
    /// Give the stock back and mark the row released at the request's epoch.
    GiveBack,
    /// Nothing is held: raise the row's epoch.
    RaiseEpoch,
    /// A later attempt has written the row, so the release is late; or the goods have left, and
    /// nothing can be given back.
    Ignore,
}

/// Decides what a release at `epoch` does. `entry` is the order's row.
#[must_use]
pub fn release(entry: Option<&Entry>, epoch: i32) -> ReleasePlan {
    let Some(entry) = entry else {
        return ReleasePlan::Tombstone;
    };
    if entry.epoch > epoch {
        return ReleasePlan::Ignore;
    }
    match entry.state {
        ReservationState::Held => ReleasePlan::GiveBack,
        ReservationState::Released => ReleasePlan::RaiseEpoch,
        ReservationState::Shipped => ReleasePlan::Ignore,
    }
}

/// The effect of a ship.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShipPlan {
    /// The order holds nothing: it reserved nothing, or has released it.
    NothingHeld,
    /// A later attempt has written the row.
    Stale,
    /// Take the goods out of the reserved stock, and mark the row shipped at the request's epoch.
    Ship,
    /// The goods have left already.
    AlreadyShipped,
}

/// Decides what a ship at `epoch` does. `entry` is the order's row.
#[must_use]
pub fn ship(entry: Option<&Entry>, epoch: i32) -> ShipPlan {
    let Some(entry) = entry else {
        return ShipPlan::NothingHeld;
    };
    if entry.epoch > epoch {
        return ShipPlan::Stale;
    }
    match entry.state {
        ReservationState::Held => ShipPlan::Ship,
        ReservationState::Released => ShipPlan::NothingHeld,
        ReservationState::Shipped => ShipPlan::AlreadyShipped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goods(quantity: i32) -> Goods {
        Goods {
            product_id: "P".into(),
            quantity,
        }
    }

    fn entry(epoch: i32, state: ReservationState) -> Entry {
        Entry {
            epoch,
            state,
            goods: Some(goods(1)),
        }
    }

    #[test]
    fn a_reserve_is_decided_by_state_and_epoch() {
        let table = [
            (None, ReservePlan::Take),
            (Some(entry(3, ReservationState::Held)), ReservePlan::Stale),
            (
                Some(entry(3, ReservationState::Released)),
                ReservePlan::Stale,
            ),
            (
                Some(entry(2, ReservationState::Held)),
                ReservePlan::AlreadyHeld,
            ),
            (
                Some(entry(2, ReservationState::Released)),
                ReservePlan::Stale,
            ),
            (
                Some(entry(1, ReservationState::Held)),
                ReservePlan::KeepHeld,
            ),
            (
                Some(entry(1, ReservationState::Released)),
                ReservePlan::Take,
            ),
            (
                Some(entry(3, ReservationState::Shipped)),
                ReservePlan::Stale,
            ),
            (
                Some(entry(2, ReservationState::Shipped)),
                ReservePlan::AlreadyShipped,
            ),
            (
                Some(entry(1, ReservationState::Shipped)),
                ReservePlan::AlreadyShipped,
            ),
        ];
        for (row, plan) in table {
            assert_eq!(reserve(row.as_ref(), 2, &goods(1)), plan, "{row:?}");
        }
    }

    #[test]
    fn a_mismatch_is_rejected_unless_the_reserve_is_stale() {
        assert_eq!(
            reserve(Some(&entry(1, ReservationState::Held)), 1, &goods(2)),
            ReservePlan::Mismatch
        );
        assert_eq!(
            reserve(Some(&entry(1, ReservationState::Held)), 2, &goods(2)),
            ReservePlan::Mismatch
        );
        assert_eq!(
            reserve(Some(&entry(2, ReservationState::Held)), 1, &goods(2)),
            ReservePlan::Stale
        );
        assert_eq!(
            reserve(Some(&entry(1, ReservationState::Shipped)), 2, &goods(2)),
            ReservePlan::Mismatch
        );
        let tombstone = Entry {
            epoch: 1,
            state: ReservationState::Released,
            goods: None,
        };
        assert_eq!(reserve(Some(&tombstone), 2, &goods(2)), ReservePlan::Take);
    }

    #[test]
    fn a_release_is_decided_by_state_and_epoch() {
        let table = [
            (None, ReleasePlan::Tombstone),
            (
                Some(entry(1, ReservationState::Held)),
                ReleasePlan::GiveBack,
            ),
            (
                Some(entry(2, ReservationState::Held)),
                ReleasePlan::GiveBack,
            ),
            (
                Some(entry(2, ReservationState::Released)),
                ReleasePlan::RaiseEpoch,
            ),
            (Some(entry(3, ReservationState::Held)), ReleasePlan::Ignore),
            (
                Some(entry(3, ReservationState::Released)),
                ReleasePlan::Ignore,
            ),
            (
                Some(entry(1, ReservationState::Shipped)),
                ReleasePlan::Ignore,
            ),
            (
                Some(entry(2, ReservationState::Shipped)),
                ReleasePlan::Ignore,
            ),
            (
                Some(entry(3, ReservationState::Shipped)),
                ReleasePlan::Ignore,
            ),
        ];
        for (row, plan) in table {
            assert_eq!(release(row.as_ref(), 2), plan, "{row:?}");
        }
    }

    #[test]
    fn a_ship_is_decided_by_state_and_epoch() {
        let table = [
            (None, ShipPlan::NothingHeld),
            (Some(entry(1, ReservationState::Held)), ShipPlan::Ship),
            (Some(entry(2, ReservationState::Held)), ShipPlan::Ship),
            (Some(entry(3, ReservationState::Held)), ShipPlan::Stale),
            (
                Some(entry(1, ReservationState::Released)),
                ShipPlan::NothingHeld,
            ),
            (
                Some(entry(2, ReservationState::Released)),
                ShipPlan::NothingHeld,
            ),
            (Some(entry(3, ReservationState::Released)), ShipPlan::Stale),
            (
                Some(entry(1, ReservationState::Shipped)),
                ShipPlan::AlreadyShipped,
            ),
            (
                Some(entry(2, ReservationState::Shipped)),
                ShipPlan::AlreadyShipped,
            ),
            (Some(entry(3, ReservationState::Shipped)), ShipPlan::Stale),
        ];
        for (row, plan) in table {
            assert_eq!(ship(row.as_ref(), 2), plan, "{row:?}");
        }
    }
}
