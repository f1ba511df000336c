//! The cost that the circuit breaker adds to each call: a question to a breaker with a full window,
//! and the recording of the outcome.

use std::hint::black_box;
use std::time::Instant;

use criterion::Criterion;
use valerix::platform::client::circuit_breaker::CircuitBreaker;
use valerix::platform::client::retry_budget::RetryBudget;

/// More calls than a breaker's window holds.
const CALLS: u32 = 1000;

pub fn calls(criterion: &mut Criterion) {
    let now = Instant::now();
    let mut breaker = CircuitBreaker::default();
    let ticket = breaker.admit(now).expect("a new breaker is closed");
    for _ in 0..CALLS {
        breaker.record(ticket, now, true);
    }
    let mut budget = RetryBudget::default();
    let mut group = criterion.benchmark_group("circuit breaker");
    group.bench_function("admit", |bench| {
        bench.iter(|| breaker.admit(black_box(now)));
    });
    group.bench_function("record", |bench| {
        bench.iter(|| breaker.record(ticket, black_box(now), black_box(true)));
    });
    group.bench_function("retry budget, deposit", |bench| {
        bench.iter(|| black_box(&mut budget).deposit());
    });
}
