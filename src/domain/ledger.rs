//! The rules of the reservation ledger: what a request means, given what inventory has heard of its
//! order. Pure: the service and the model in the tests run the same functions.
//!
//! The epoch is a fencing token. Each takeover of an order has a higher one, so that a late message
//! of an earlier attempt can neither free what a later one holds nor take stock for an order that
//! gave up.

use strum::{Display, EnumString, IntoStaticStr, VariantArray};

/// State of a reservation.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr, VariantArray,
)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE", const_into_str)]
pub enum Hold {
    Held,
    Released,
}

impl Hold {
    /// The text in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }
}

/// What one order reserves.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Goods {
    pub product_id: String,
    pub quantity: i32,
}

/// The ledger's row of an order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Entry {
    pub epoch: i32,
    pub hold: Hold,
    /// Absent where a release came before any reserve.
    pub goods: Option<Goods>,
}

/// What a reserve has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReservePlan {
    /// Take the stock and hold it at the request's epoch; where there is none left, stamp an
    /// existing row with the epoch.
    Take,
    /// The stock is already taken; raise the row's epoch.
    Restamp,
    /// A repetition of what was done before.
    AlreadyHeld,
    /// A later attempt was here, or this one already gave up.
    Stale,
    /// The same order with other goods.
    OtherGoods,
}

#[must_use]
pub fn reserve(entry: Option<&Entry>, epoch: i32, goods: &Goods) -> ReservePlan {
    let Some(entry) = entry else {
        return ReservePlan::Take;
    };
    if entry.epoch > epoch {
        return ReservePlan::Stale;
    }
    if entry.goods.as_ref().is_some_and(|held| held != goods) {
        return ReservePlan::OtherGoods;
    }
    match (entry.epoch == epoch, entry.hold) {
        (true, Hold::Held) => ReservePlan::AlreadyHeld,
        (true, Hold::Released) => ReservePlan::Stale,
        (false, Hold::Held) => ReservePlan::Restamp,
        (false, Hold::Released) => ReservePlan::Take,
    }
}

/// What a release has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleasePlan {
    /// Leave a released row, so that a late reserve finds it.
    Tombstone,
    /// Give the stock back and mark the row released at the request's epoch.
    GiveBack,
    /// Nothing is held; mark the row with the request's epoch.
    Stamp,
    /// A late message: a later attempt holds the stock.
    Nothing,
}

#[must_use]
pub fn release(entry: Option<&Entry>, epoch: i32) -> ReleasePlan {
    match entry {
        None => ReleasePlan::Tombstone,
        Some(entry) if entry.epoch > epoch => ReleasePlan::Nothing,
        Some(Entry {
            hold: Hold::Held, ..
        }) => ReleasePlan::GiveBack,
        Some(_) => ReleasePlan::Stamp,
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

    fn entry(epoch: i32, hold: Hold) -> Entry {
        Entry {
            epoch,
            hold,
            goods: Some(goods(1)),
        }
    }

    #[test]
    fn reserve_follows_the_table_of_the_protocol() {
        let table = [
            (None, ReservePlan::Take),
            (Some(entry(3, Hold::Held)), ReservePlan::Stale),
            (Some(entry(3, Hold::Released)), ReservePlan::Stale),
            (Some(entry(2, Hold::Held)), ReservePlan::AlreadyHeld),
            (Some(entry(2, Hold::Released)), ReservePlan::Stale),
            (Some(entry(1, Hold::Held)), ReservePlan::Restamp),
            (Some(entry(1, Hold::Released)), ReservePlan::Take),
        ];
        for (row, plan) in table {
            assert_eq!(reserve(row.as_ref(), 2, &goods(1)), plan, "{row:?}");
        }
    }

    #[test]
    fn another_payload_is_refused_unless_the_caller_is_late_anyway() {
        assert_eq!(
            reserve(Some(&entry(1, Hold::Held)), 1, &goods(2)),
            ReservePlan::OtherGoods
        );
        assert_eq!(
            reserve(Some(&entry(1, Hold::Held)), 2, &goods(2)),
            ReservePlan::OtherGoods
        );
        assert_eq!(
            reserve(Some(&entry(2, Hold::Held)), 1, &goods(2)),
            ReservePlan::Stale
        );
        let tombstone = Entry {
            epoch: 1,
            hold: Hold::Released,
            goods: None,
        };
        assert_eq!(reserve(Some(&tombstone), 2, &goods(2)), ReservePlan::Take);
    }

    #[test]
    fn release_follows_the_table_of_the_protocol() {
        let table = [
            (None, ReleasePlan::Tombstone),
            (Some(entry(1, Hold::Held)), ReleasePlan::GiveBack),
            (Some(entry(2, Hold::Held)), ReleasePlan::GiveBack),
            (Some(entry(2, Hold::Released)), ReleasePlan::Stamp),
            (Some(entry(3, Hold::Held)), ReleasePlan::Nothing),
            (Some(entry(3, Hold::Released)), ReleasePlan::Nothing),
        ];
        for (row, plan) in table {
            assert_eq!(release(row.as_ref(), 2), plan, "{row:?}");
        }
    }
}
