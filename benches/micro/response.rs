//! Serialises the response for a confirmed order.

use std::hint::black_box;

use criterion::Criterion;
use uuid::Uuid;
use valerix::api::{Order, OrderStatus};

pub fn serialise(criterion: &mut Criterion) {
    let now = chrono::Utc::now();
    let order = Order {
        id: Uuid::now_v7(),
        product_id: "PROD-001".to_owned(),
        quantity: 1,
        status: OrderStatus::Confirmed.to_string(),
        settled: true,
        owes: Vec::new(),
        owed_since: None,
        next_attempt_at: None,
        last_failure: None,
        fulfilled_at: None,
        message: "Order confirmed".to_owned(),
        failure_reason: None,
        created_at: now,
        updated_at: now,
        trace_id: Some(Uuid::new_v4().simple().to_string()),
    };
    let mut group = criterion.benchmark_group("response");
    group.bench_function("confirmed order", |bench| {
        bench.iter(|| serde_json::to_vec(black_box(&order)));
    });
}
