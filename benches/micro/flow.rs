//! The transitions of an order that goes well, and of one whose payment stays silent.

use std::hint::black_box;

use criterion::Criterion;
use valerix::domain::saga::{Attempt, Event, SagaState};

pub fn transitions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("flow");
    for (name, events) in [
        ("confirmed", [Event::Reserved, Event::Charged].as_slice()),
        (
            "payment silent",
            &[Event::Reserved, Event::OutcomeUnknown, Event::Released],
        ),
    ] {
        assert_eq!(driven(events).next(), None);
        group.bench_function(name, |bench| bench.iter(|| driven(black_box(events))));
    }
}

fn driven(events: &[Event]) -> Attempt {
    events.iter().fold(
        Attempt::new(black_box(SagaState::PLACED)),
        |attempt, event| {
            black_box(attempt.next());
            attempt.apply(*event).0
        },
    )
}
