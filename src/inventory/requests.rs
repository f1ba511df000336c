//! The requests to the ledger for one order, the deliveries of operators, and their outcomes.

use uuid::Uuid;

use crate::api::Delivery;
use crate::domain::ledger::Goods;
use crate::platform::unknown_variant::UnknownVariant;

/// Reserves goods for an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReserveRequest {
    pub order_id: Uuid,
    pub epoch: i32,
    pub goods: Goods,
}

/// Gives back what an order holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReleaseRequest {
    pub order_id: Uuid,
    /// Without an epoch, the release applies to whatever the order holds.
    pub epoch: Option<i32>,
}

/// Ships what an order holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShipRequest {
    pub order_id: Uuid,
    /// Without an epoch, the ship applies to whatever the order holds.
    pub epoch: Option<i32>,
}

/// How a reserve ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReserveOutcome {
    /// The order holds the goods. The figures are those of the product afterwards.
    Held {
        stock: i32,
        reserved: i32,
    },
    InsufficientStock,
    UnknownProduct,
    /// A later attempt has taken the order over, or this one has already released its goods.
    StaleEpoch,
    /// The order's goods have left. It reserves nothing more.
    AlreadyShipped,
    /// The order reserved another product or quantity before.
    Mismatch,
    /// The order's reservation is in a state that this version does not know.
    UnknownState(UnknownVariant),
}

/// How a release ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReleaseOutcome {
    /// The units that were given back; 0 if the order held none.
    Released(i32),
    /// The order holds more than its product's `reserved`. Giving that back would make `reserved`
    /// negative. Only a change of the product by hand leads to this.
    MoreThanReserved { held: i32, reserved: i32 },
    /// The order's reservation is in a state that this version does not know.
    UnknownState(UnknownVariant),
}

/// How a ship ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShipOutcome {
    /// The goods have left, with this request or an earlier one.
    Shipped(Goods),
    /// The order reserved nothing, or has released it.
    NothingHeld,
    /// A later attempt has taken the order over.
    StaleEpoch,
    /// The order holds more than its product's `reserved`, which is 0 if the product's row is
    /// missing. Only a change of the product by hand leads to this.
    MoreThanReserved { held: i32, reserved: i32 },
    /// The order's reservation is in a state that this version does not know.
    UnknownState(UnknownVariant),
}

/// Adds units to a product, or removes some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRequest {
    pub delivery_id: String,
    pub product_id: String,
    /// Never 0. Negative for a correction.
    pub quantity: i32,
}

/// How a delivery ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// This call made it.
    Made(Delivery),
    /// An earlier call made it.
    MadeBefore(Delivery),
    /// A delivery of this id is of another product or quantity.
    OtherPayload,
    UnknownProduct,
    /// A correction of more than is in stock.
    InsufficientStock {
        stock: i32,
    },
    /// More would be in stock, or would have been delivered, than the tables hold.
    TooMuchStock,
}
