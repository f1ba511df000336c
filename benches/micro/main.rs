//! Measures the parts of an order's path that do no I/O, each by itself. Run it with
//! `make microbench`.
//!
//! Each file has one function that takes Criterion. It is listed below.

mod circuit_breaker;
mod gremlin;
mod ledger;
mod request_body;
mod response;
mod saga;
mod sla;

use criterion::{criterion_group, criterion_main};

criterion_group!(
    benchmarks,
    request_body::place_order,
    saga::transitions,
    ledger::decisions,
    circuit_breaker::calls,
    sla::window,
    gremlin::middleware,
    response::serialise
);
criterion_main!(benchmarks);
