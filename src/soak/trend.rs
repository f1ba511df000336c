//! Whether a figure grows over time: pure.
//!
//! Judged is the second half alone: a program that has just started grows into its work. What comes
//! and goes with each fault is no leak, so that of each round of faults the lowest sample counts:
//! what has leaked is never given back. The slope is the median of the slopes between all pairs of
//! these points (Theil–Sen), which single ones do not move. Growth counts when over the half it is
//! more than is tolerated, and when rises outnumber falls by more than chance would have it
//! (Mann–Kendall).

use serde::Serialize;

/// Points that are compared, each with each: more are put together, by their median.
const MOST_POINTS: usize = 200;
/// Of fewer, chance may put all in a row.
const LEAST_POINTS: usize = 5;
/// Of a normal distribution, one in a hundred is beyond.
const BEYOND_CHANCE: f64 = 2.33;

/// What the second half of a series shows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Trend {
    pub median: f64,
    /// Over the whole half, by its slope.
    pub growth: f64,
    pub tolerated: f64,
    pub grows: bool,
}

/// What growth over half of the time is let pass: so much, or this share of what there is.
#[derive(Debug, Clone, Copy)]
pub struct Tolerance {
    pub absolute: f64,
    pub share: f64,
}

/// So many samples, taken at equal distances, are one round of faults. Nothing where there are too
/// few rounds to tell.
#[must_use]
pub fn of(samples: &[f64], round: usize, tolerance: Tolerance) -> Option<Trend> {
    let half = &samples[samples.len() / 2..];
    let points = thinned(&floors(half, round));
    if points.len() < LEAST_POINTS {
        return None;
    }
    let growth = median(slopes(&points)) * precise(points.len());
    let typical = median(points.clone());
    let tolerated = tolerance.absolute.max(typical * tolerance.share);
    let grows = growth > tolerated && rises_beyond_chance(&points);
    Some(Trend {
        median: typical,
        growth,
        tolerated,
        grows,
    })
}

/// The lowest of each round, counted back from the end.
fn floors(samples: &[f64], round: usize) -> Vec<f64> {
    let lowest = |round: &[f64]| round.iter().copied().fold(f64::INFINITY, f64::min);
    let mut floors: Vec<_> = samples.rchunks_exact(round.max(1)).map(lowest).collect();
    floors.reverse();
    floors
}

fn thinned(points: &[f64]) -> Vec<f64> {
    let together = points.len().div_ceil(MOST_POINTS).max(1);
    points
        .chunks_exact(together)
        .map(|chunk| median(chunk.to_vec()))
        .collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
    f64::midpoint(low, high)
}

fn pairs(points: &[f64]) -> impl Iterator<Item = (usize, usize)> {
    let count = points.len();
    (0..count).flat_map(move |first| (first + 1..count).map(move |second| (first, second)))
}

fn slopes(points: &[f64]) -> Vec<f64> {
    pairs(points)
        .map(|(first, second)| (points[second] - points[first]) / precise(second - first))
        .collect()
}

fn rises_beyond_chance(points: &[f64]) -> bool {
    let (mut rises, mut falls) = (0_u32, 0_u32);
    for (first, second) in pairs(points) {
        rises += u32::from(points[second] > points[first]);
        falls += u32::from(points[second] < points[first]);
    }
    let n = precise(points.len());
    let deviation = (n * (n - 1.0) * (2.0 * n + 5.0) / 18.0).sqrt();
    (f64::from(rises) - f64::from(falls)) / deviation > BEYOND_CHANCE
}

#[expect(clippy::cast_precision_loss, reason = "counts of samples")]
fn precise(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    const FEW: Tolerance = Tolerance {
        absolute: 5.0,
        share: 0.05,
    };
    const ROUND: usize = 10;

    /// 200 samples around 50, each made from its number and chance.
    fn series(seed: u64, make: impl Fn(f64, f64) -> f64) -> Trend {
        let mut random = StdRng::seed_from_u64(seed);
        let samples: Vec<_> = (0..200)
            .map(|n| 50.0 + make(f64::from(n), random.random_range(-1.0..1.0)))
            .collect();
        of(&samples, ROUND, FEW).unwrap()
    }

    #[test]
    fn noise_and_what_comes_and_goes_is_no_growth() {
        for seed in 0..50 {
            assert!(
                !series(seed, |_, chance| 10.0 * chance).grows,
                "noise {seed}"
            );
            assert!(
                !series(seed, |n, chance| n % 17.0 + chance).grows,
                "saw teeth {seed}"
            );
            let peaks = |n: f64, chance: f64| if n % 25.0 < 2.0 { 500.0 } else { chance };
            assert!(!series(seed, peaks).grows, "peaks {seed}");
        }
    }

    #[test]
    fn what_each_round_brings_is_no_growth_wherever_the_soak_ends() {
        for end in 100..200 {
            let samples: Vec<_> = (0..end).map(|n| 30.0 + f64::from(10 * (n % 10))).collect();
            let trend = of(&samples, ROUND, FEW).unwrap();
            assert_eq!((trend.growth, trend.grows), (0.0, false), "{end}");
        }
    }

    #[test]
    fn a_start_that_settles_is_no_growth() {
        let settling = |n: f64, chance: f64| 40.0 * (1.0 - (-n / 20.0).exp()) + chance;
        assert!(!series(1, settling).grows);
        let last_peak = |n: f64, _: f64| if n > 190.0 { 100.0 } else { 0.0 };
        assert!(!series(1, last_peak).grows);
    }

    #[test]
    fn a_leak_is_growth_under_noise_and_in_steps() {
        for seed in 0..50 {
            let trend = series(seed, |n, chance| 0.1 * n + 5.0 * chance);
            assert!(
                trend.grows && (7.0..13.0).contains(&trend.growth),
                "{seed}: {trend:?}"
            );
            assert!(
                series(seed, |n, chance| 8.0 * (n / 20.0).floor() + chance).grows,
                "steps {seed}"
            );
            assert!(
                series(seed, |n, chance| n % 10.0 + 0.1 * n + chance).grows,
                "saw teeth that rise {seed}"
            );
        }
    }

    #[test]
    fn what_shrinks_or_grows_less_than_is_tolerated_is_let_pass() {
        assert!(!series(1, |n, chance| chance - 0.1 * n).grows);
        assert!(!series(1, |n, _| 0.02 * n).grows);
    }

    #[test]
    fn many_samples_are_put_together_and_few_tell_nothing() {
        let long: Vec<_> = (0..100_000).map(|n| f64::from(n) / 1000.0).collect();
        let trend = of(&long, ROUND, FEW).unwrap();
        assert!(
            trend.grows && (trend.growth - 50.0).abs() < 1.0,
            "{trend:?}"
        );
        assert_eq!(of(&[1.0; 90], ROUND, FEW), None);
    }
}
