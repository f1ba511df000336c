//! `POST /demo/campaigns`: which campaign to start.

use std::ops::RangeInclusive;

use crate::platform::http::extract::{Fields, FromFields, integer};

pub const ORDERS: RangeInclusive<u32> = 20..=1000;
pub const DEFAULT_ORDERS: u32 = 100;
/// The largest integer that a page can read exactly.
const MAX_SEED: u64 = (1 << 53) - 1;

/// The campaign to start. An absent or null seed is drawn at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CampaignRequest {
    pub seed: u64,
    pub orders: u32,
}

impl FromFields for CampaignRequest {
    fn from_fields(fields: &mut Fields) -> Self {
        let seed = fields.optional("seed", integer(0..=MAX_SEED));
        let orders = fields.optional("orders", integer(ORDERS));
        fields.reject_unread();
        Self {
            seed: seed.unwrap_or_else(|| rand::random::<u32>().into()),
            orders: orders.unwrap_or(DEFAULT_ORDERS),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::platform::http::extract::read;

    #[test]
    fn absent_fields_have_defaults_and_others_must_be_within_the_limits() {
        let of = |body| read::<CampaignRequest>(&body);
        let absent = of(json!({})).unwrap();
        assert_eq!(absent.orders, DEFAULT_ORDERS);
        let null = of(json!({"seed": null, "orders": null})).unwrap();
        assert_eq!(null.orders, DEFAULT_ORDERS);
        let given = CampaignRequest {
            seed: 7,
            orders: 20,
        };
        assert_eq!(of(json!({"seed": 7, "orders": 20})), Ok(given));
        for body in [
            json!({"orders": 19}),
            json!({"orders": 1001}),
            json!({"orders": "20"}),
        ] {
            assert_eq!(of(body), Err(vec!["orders".to_owned()]));
        }
        assert_eq!(of(json!({"seed": -1})), Err(vec!["seed".to_owned()]));
        assert_eq!(of(json!({"kills": 6})), Err(vec!["kills".to_owned()]));
    }
}
