//! The payment gateway, which moves the money.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rust_decimal::Decimal;
use uuid::Uuid;

/// How the gateway decided about a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    Approved,
    Declined,
}

/// The gateway did not answer. Whether it acted is unknown.
#[derive(Debug, thiserror::Error)]
#[error("the payment gateway did not answer: {0}")]
pub struct GatewayUnavailable(pub String);

/// A payment gateway. The order's id is the idempotency key of both calls: repeating one changes
/// nothing and returns the first answer again.
pub trait Gateway: Send + Sync {
    /// Charges the order's customer once.
    fn charge(
        &self,
        order_id: Uuid,
        amount: Decimal,
    ) -> BoxFuture<'_, Result<Decision, GatewayUnavailable>>;

    /// Refunds the order's charge, and prevents a later one. A charge that was sent before can
    /// still arrive later. It must not capture, or a failed order would be paid for.
    fn cancel(&self, order_id: Uuid) -> BoxFuture<'_, Result<(), GatewayUnavailable>>;
}

/// A gateway that moves no money. Its decision depends only on the seed and the order's id.
#[derive(Debug, Clone)]
pub struct MockGateway {
    /// Share of the orders that it approves: 0 to 1.
    pub success_rate: f64,
    pub seed: u64,
    /// Duration of a charge.
    pub latency: Duration,
}

impl MockGateway {
    fn decide(&self, order_id: Uuid) -> Decision {
        let (high, low) = order_id.as_u64_pair();
        let mut random = StdRng::seed_from_u64(self.seed ^ high.rotate_left(32) ^ low);
        if random.random_bool(self.success_rate) {
            Decision::Approved
        } else {
            Decision::Declined
        }
    }
}

impl Gateway for MockGateway {
    fn charge(
        &self,
        order_id: Uuid,
        _: Decimal,
    ) -> BoxFuture<'_, Result<Decision, GatewayUnavailable>> {
        async move {
            // A sleep of zero would still take until the timer's next tick, up to 1 ms.
            if !self.latency.is_zero() {
                tokio::time::sleep(self.latency).await;
            }
            Ok(self.decide(order_id))
        }
        .boxed()
    }

    fn cancel(&self, _: Uuid) -> BoxFuture<'_, Result<(), GatewayUnavailable>> {
        async { Ok(()) }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn approved(gateway: &MockGateway, orders: u128) -> usize {
        (1..=orders)
            .filter(|n| gateway.decide(Uuid::from_u128(*n)) == Decision::Approved)
            .count()
    }

    #[test]
    fn approves_the_configured_share() {
        let gateway = |success_rate| MockGateway {
            success_rate,
            seed: 7,
            latency: Duration::ZERO,
        };
        assert_eq!(approved(&gateway(1.0), 1000), 1000);
        assert_eq!(approved(&gateway(0.0), 1000), 0);
        // Binomial(1000, 0.9) has a standard deviation of 9.5. With a fixed seed, the number is the
        // same in every run.
        assert!((870..=930).contains(&approved(&gateway(0.9), 1000)));
    }

    #[test]
    fn an_order_gets_the_same_decision_every_time() {
        let gateway = MockGateway {
            success_rate: 0.5,
            seed: 1,
            latency: Duration::ZERO,
        };
        for n in 0..100 {
            assert_eq!(
                gateway.decide(Uuid::from_u128(n)),
                gateway.decide(Uuid::from_u128(n))
            );
        }
    }
}
