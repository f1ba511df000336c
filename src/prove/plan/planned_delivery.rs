//! The deliveries that an operator sends during a campaign.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use uuid::Uuid;

use super::draw_duration::draw_duration;
use super::planned_order::{PRODUCTS, product_id};

/// One delivery for this many orders.
const ORDERS_PER_DELIVERY: usize = 25;
/// No product has this name.
const UNKNOWN_PRODUCT: &str = "P-unknown";
/// A correction by this quantity removes more than any product has.
const TOO_LARGE_CORRECTION: i32 = -1_000_000;
const REPEAT_SHARE: f64 = 0.4;
const CONTRADICTION_SHARE: f64 = 0.2;
const MAX_DELAY_MS: u64 = 500;

/// The kinds of deliveries. A plan has at least one of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DeliveryKind {
    Units,
    Correction,
    TooLargeCorrection,
    UnknownProduct,
}

/// Planned in this order, again and again. Units come twice as often as each other kind.
const KINDS: [DeliveryKind; 5] = [
    DeliveryKind::Units,
    DeliveryKind::Correction,
    DeliveryKind::Units,
    DeliveryKind::TooLargeCorrection,
    DeliveryKind::UnknownProduct,
];

/// A delivery, which the operator sends again until it is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedDelivery {
    pub delivery_id: String,
    pub product_id: String,
    /// Negative for a correction.
    pub quantity: i32,
    /// The time before the first request.
    pub delay: Duration,
    /// Whether the delivery is sent once more after an answer.
    pub repeats: bool,
    /// Whether a delivery of another quantity with the same id follows the answer.
    pub contradicts: bool,
}

/// Draws the deliveries, each with the number of orders that customers may place before it.
pub fn draw_deliveries(random: &mut StdRng, orders: usize) -> Vec<(usize, PlannedDelivery)> {
    let count = (orders / ORDERS_PER_DELIVERY).max(KINDS.len());
    let kinds = KINDS.into_iter().cycle().take(count);
    let mut deliveries: Vec<_> = kinds
        .map(|kind| (random.random_range(0..=orders), draw(random, kind)))
        .collect();
    deliveries.sort_by_key(|(position, _)| *position);
    deliveries
}

fn draw(random: &mut StdRng, kind: DeliveryKind) -> PlannedDelivery {
    let bytes: [u8; 16] = random.random();
    let product = product_id(random.random_range(0..PRODUCTS));
    let units = random.random_range(1..=20);
    let (product_id, quantity) = match kind {
        DeliveryKind::Units => (product, units),
        DeliveryKind::Correction => (product, -units.min(5)),
        DeliveryKind::TooLargeCorrection => (product, TOO_LARGE_CORRECTION),
        DeliveryKind::UnknownProduct => (UNKNOWN_PRODUCT.to_owned(), units),
    };
    PlannedDelivery {
        delivery_id: Uuid::from_bytes(bytes).to_string(),
        product_id,
        quantity,
        delay: draw_duration(random, 0, MAX_DELAY_MS),
        repeats: random.random_bool(REPEAT_SHARE),
        contradicts: random.random_bool(CONTRADICTION_SHARE),
    }
}
