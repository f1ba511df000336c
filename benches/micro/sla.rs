//! The window of the service level: each order is recorded in it, and `GET /sla` reports it.

use std::hint::black_box;
use std::time::Duration;

use criterion::Criterion;
use valerix::order::sla::Window;

pub fn window(criterion: &mut Criterion) {
    let window = Window::default();
    let duration = Duration::from_millis(12);
    let mut group = criterion.benchmark_group("sla");
    group.bench_function("record", |bench| {
        bench.iter(|| window.record(black_box(duration)));
    });
    group.bench_function("report", |bench| bench.iter(|| window.report()));
}
