//! The transitions of an order that is confirmed, and of one for which payment does not answer.

use std::hint::black_box;

use criterion::Criterion;
use valerix::domain::saga::{Attempt, CallFailure, SagaState, StepOutcome};

pub fn transitions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("saga");
    for (name, outcomes) in [
        (
            "confirmed",
            [StepOutcome::Reserved, StepOutcome::Charged].as_slice(),
        ),
        (
            "payment unavailable",
            &[
                StepOutcome::Reserved,
                StepOutcome::CallFailed(CallFailure::TimedOut),
                StepOutcome::Released {
                    units_returned: true,
                },
            ],
        ),
    ] {
        assert_eq!(run(outcomes).next(), None);
        group.bench_function(name, |bench| bench.iter(|| run(black_box(outcomes))));
    }
}

fn run(outcomes: &[StepOutcome]) -> Attempt {
    outcomes.iter().fold(
        Attempt::new(black_box(SagaState::PLACED)),
        |attempt, outcome| {
            black_box(attempt.next());
            attempt.apply(*outcome).0
        },
    )
}
