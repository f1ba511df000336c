//! What each guarded call pays: asking a breaker that has a full window, and telling it how the
//! call ended.

use std::hint::black_box;
use std::time::Instant;

use criterion::Criterion;
use valerix::platform::client::circuit_breaker::CircuitBreaker;
use valerix::platform::client::retry_budget::RetryBudget;

/// More than a breaker remembers.
const CALLS: u32 = 1000;

pub fn guard(criterion: &mut Criterion) {
    let now = Instant::now();
    let mut breaker = CircuitBreaker::default();
    let pass = breaker.admit(now).expect("it is closed");
    for _ in 0..CALLS {
        breaker.record(pass, now, true);
    }
    let mut budget = RetryBudget::default();
    let mut group = criterion.benchmark_group("breaker");
    group.bench_function("admit", |bench| {
        bench.iter(|| breaker.admit(black_box(now)))
    });
    group.bench_function("record", |bench| {
        bench.iter(|| breaker.record(pass, black_box(now), black_box(true)));
    });
    group.bench_function("retry budget, deposit", |bench| {
        bench.iter(|| black_box(&mut budget).deposit())
    });
}
