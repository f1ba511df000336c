use super::*;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[test]
fn an_empty_window_is_green() {
    let report = Window::default().report_at(0);
    assert_eq!(
        (report.requests, report.average_ms, report.status.as_str()),
        (0, 0.0, "green")
    );
}

#[test]
fn the_status_is_red_above_the_threshold_and_green_after_the_window() {
    let window = Window::default();
    window.record_at(0, ms(1000));
    assert_eq!(
        window.report_at(0).status,
        "green",
        "1 s on average is not above 1 s"
    );
    window.record_at(1, ms(2000));
    assert_eq!(
        (
            window.report_at(1).status.as_str(),
            window.report_at(1).average_ms
        ),
        ("red", 1500.0)
    );
    assert_eq!(window.report_at(29).requests, 2);
    assert_eq!(window.report_at(30).requests, 1, "the first second is out");
    assert_eq!(
        (
            window.report_at(31).requests,
            window.report_at(31).status.as_str()
        ),
        (0, "green")
    );
}

#[test]
fn the_history_has_the_steps_of_the_last_ten_minutes() {
    let window = Window::default();
    window.record_at(0, ms(100));
    window.record_at(4, ms(300));
    window.record_at(12, ms(1000));
    let history = window.history_at(14);
    let figures: Vec<_> = history
        .points
        .iter()
        .map(|point| (point.requests, point.average_ms))
        .collect();
    assert_eq!(figures, [(2, 200.0), (0, 0.0), (1, 1000.0)]);
    assert!(
        (history.points[0].p99_ms - 300.0).abs() < 3.0,
        "{history:?}"
    );
    window.record_at(2000, ms(1));
    let later = window.history_at(2001);
    assert_eq!(
        (
            later.points.len(),
            later.points.iter().map(|point| point.requests).sum::<u64>()
        ),
        (120, 1)
    );
}

#[test]
fn percentiles_are_exact_within_one_percent() {
    let window = Window::default();
    for n in 1..=1000 {
        window.record_at(n / 50, ms(n));
    }
    let report = window.report_at(20);
    for (quantile, wanted) in [
        (report.p50_ms, 500.0),
        (report.p90_ms, 900.0),
        (report.p99_ms, 990.0),
    ] {
        assert!(
            (quantile - wanted).abs() <= wanted * 0.01,
            "{quantile} for {wanted}"
        );
    }
}

#[test]
fn requests_of_another_replica_count_in_their_second_and_step_however_late_they_arrive() {
    let (here, other) = (Window::default(), Window::default());
    here.record_at(100, ms(100));
    other.record_at(98, ms(300));
    other.record_at(98, ms(500));
    let slices: Vec<_> = {
        let mut state = other.state();
        state.cut_slice(100);
        state.pending.drain(..).collect()
    };
    assert_eq!(
        slices.len(),
        1,
        "the requests of one second are one slice when none is cut in between"
    );
    let packed = &slices[0].packed;
    here.merge(
        Duration::from_secs(100),
        Duration::from_millis(1500),
        packed,
    );
    let report = here.report_at(100);
    assert_eq!((report.requests, report.average_ms), (3, 300.0));
    assert_eq!(here.report_at(128).requests, 1, "second 98 is out");
    // The step of second 98 was closed long ago.
    here.merge(Duration::from_secs(300), Duration::from_secs(202), packed);
    assert_eq!(here.report_at(300).requests, 0);
    let points = here.history_at(300).points;
    assert_eq!(points[points.len() - 42].requests, 4, "{points:?}");
    assert!((points[points.len() - 42].p99_ms - 500.0).abs() < 5.0);
}

#[test]
fn pending_slices_are_kept_in_order_for_as_long_as_the_history() {
    let window = Window::default();
    let now = window.now().as_secs();
    for second in 0..900 {
        window.record_at(now - 899 + second, ms(1));
    }
    let pending = window.pending(10_000);
    let kept = usize::try_from(HISTORY_SECONDS).unwrap();
    assert!(
        pending.len() <= kept && pending.len() > kept - 3,
        "{}",
        pending.len()
    );
    assert!(pending.is_sorted_by_key(|slice| slice.number));
    window.ack(pending[9].number);
    assert_eq!(window.pending(1)[0].number, pending[10].number);
}
