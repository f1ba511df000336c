//! The transitions of an order that is confirmed, and of one for which payment does not answer.

use std::hint::black_box;

use criterion::Criterion;
use valerix::domain::saga::{Attempt, Event, SagaState};

pub fn transitions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("saga");
    for (name, events) in [
        ("confirmed", [Event::Reserved, Event::Charged].as_slice()),
        (
            "payment unavailable",
            &[Event::Reserved, Event::OutcomeUnknown, Event::Released],
        ),
    ] {
        assert_eq!(run(events).next(), None);
        group.bench_function(name, |bench| bench.iter(|| run(black_box(events))));
    }
}

fn run(events: &[Event]) -> Attempt {
    events.iter().fold(
        Attempt::new(black_box(SagaState::PLACED)),
        |attempt, event| {
            black_box(attempt.next());
            attempt.apply(*event).0
        },
    )
}
