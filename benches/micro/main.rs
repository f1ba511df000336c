//! What an order costs where nothing waits: the pure parts of its path, each by itself. `make
//! microbench`.
//!
//! One file for each subject: a function that takes Criterion, named below.

mod answer;
mod breaker;
mod fields;
mod flow;
mod gremlin;
mod ledger;
mod sla;

use criterion::{criterion_group, criterion_main};

criterion_group!(
    subjects,
    fields::place_order,
    flow::transitions,
    ledger::rules,
    breaker::guard,
    sla::window,
    gremlin::middleware,
    answer::json
);
criterion_main!(subjects);
