//! The orders that a campaign places, and the products that they order.

use rand::RngExt;
use rand::rngs::StdRng;
use uuid::Uuid;

use super::operator_plan::OperatorPlan;

/// The products that planned orders are for.
pub const PRODUCTS: usize = 8;
/// The number of a product that only directed rounds order, and of which they never order all.
pub const ABUNDANT_PRODUCT: usize = PRODUCTS;
/// The number of a product that only directed rounds order, and that was never in stock.
pub const SOLD_OUT_PRODUCT: usize = PRODUCTS + 1;
/// Share of the demand for a scarce product that is in stock.
const SCARCE_SHARE: f64 = 0.35;
/// Share of the customers with an idempotency key that send an answered request once more.
const REPLAY_SHARE: f64 = 0.3;

/// The order that one customer places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedOrder {
    pub product_id: String,
    pub quantity: i32,
    /// With an idempotency key the customer sends its request again when it gets no answer. Without
    /// a key that could create a second order.
    pub key: Option<String>,
    /// Whether the customer sends its request once more after an answer. Only with a key.
    pub replays: bool,
    /// The operator actions on the order.
    pub operators: Option<OperatorPlan>,
}

impl PlannedOrder {
    /// Draws an order without operators.
    pub fn draw(random: &mut StdRng) -> Self {
        let has_key = random.random_bool(0.5);
        let bytes: [u8; 16] = random.random();
        Self {
            product_id: product_id(random.random_range(0..PRODUCTS)),
            quantity: random.random_range(1..=3),
            key: has_key.then(|| Uuid::from_bytes(bytes).to_string()),
            replays: has_key && random.random_bool(REPLAY_SHARE),
            operators: None,
        }
    }
}

pub fn product_id(number: usize) -> String {
    format!("P-{number}")
}

/// Every product that planned orders are for, with its stock. Products with an even number have
/// what all orders together demand; the others sell out.
pub fn products(orders: &[PlannedOrder]) -> Vec<(String, i32)> {
    let product = |number: usize| {
        let id = product_id(number);
        let demand = demand(orders, &id);
        #[expect(clippy::cast_possible_truncation, reason = "a share of an i32")]
        let scarce = (f64::from(demand) * SCARCE_SHARE) as i32;
        let stock = if number.is_multiple_of(2) {
            demand
        } else {
            scarce
        };
        (id, stock)
    };
    (0..PRODUCTS).map(product).collect()
}

/// The number of units that all orders together demand.
pub fn demand<'a>(orders: impl IntoIterator<Item = &'a PlannedOrder>, product_id: &str) -> i32 {
    let orders = orders.into_iter();
    let of_product = orders.filter(|order| order.product_id == product_id);
    of_product.map(|order| order.quantity).sum()
}
