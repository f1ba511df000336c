//! Decides what inventory does for a reserve and for a release.

use std::hint::black_box;

use criterion::Criterion;
use valerix::domain::ledger::{
    Entry, Goods, ReleasePlan, ReservationState, ReservePlan, release, reserve,
};

pub fn decisions(criterion: &mut Criterion) {
    let goods = Goods {
        product_id: "PROD-001".to_owned(),
        quantity: 1,
    };
    let held = Entry {
        epoch: 1,
        state: ReservationState::Held,
        goods: Some(goods.clone()),
    };
    assert_eq!(reserve(None, 1, &goods), ReservePlan::Take);
    assert_eq!(reserve(Some(&held), 1, &goods), ReservePlan::AlreadyHeld);
    assert_eq!(release(Some(&held), 1), ReleasePlan::GiveBack);
    let mut group = criterion.benchmark_group("ledger");
    group.bench_function("reserve, new order", |bench| {
        bench.iter(|| reserve(black_box(None), black_box(1), black_box(&goods)));
    });
    group.bench_function("reserve, repeated", |bench| {
        bench.iter(|| reserve(black_box(Some(&held)), black_box(1), black_box(&goods)));
    });
    group.bench_function("release", |bench| {
        bench.iter(|| release(black_box(Some(&held)), black_box(1)));
    });
}
