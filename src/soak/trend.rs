//! Decides whether a metric grows over time. Nothing here does I/O.
//!
//! - Only the second half of the samples counts, because a program grows after its start until it
//!   has done each kind of work once.
//! - Only the lowest sample of each round of faults counts. What a fault allocates for a while is
//!   gone by then, and what leaks is not.
//! - The growth is the median of the slopes between all pairs of these points (Theil–Sen), which a
//!   few outliers do not change.
//! - The metric grows if the growth exceeds the tolerance, and if more pairs rise than chance
//!   explains (Mann–Kendall).

use serde::Serialize;

/// Above this number, neighbouring points are replaced by their median, because all pairs of points
/// are compared.
const MAX_POINTS: usize = 200;
/// With fewer points, chance alone often makes them rise.
pub const MIN_POINTS: usize = 5;
/// Standard deviations of a normal distribution that are exceeded with a probability of 1 %.
const SIGNIFICANT_DEVIATION: f64 = 2.33;

/// The trend of the second half of a series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Trend {
    pub median: f64,
    /// Over the whole second half.
    pub growth: f64,
    /// The growth that is tolerated.
    pub tolerated: f64,
    pub grows: bool,
}

/// The growth over half of the soak that is tolerated: the greater of the two.
#[derive(Debug, Clone, Copy)]
pub struct Tolerance {
    pub absolute: f64,
    /// A share of the median, where 1 is all of it.
    pub share: f64,
}

/// Finds the trend of samples at equal intervals, of which `samples_per_round` are one round of
/// faults. Returns `None` if there are fewer than five rounds in the second half.
#[must_use]
pub fn trend(samples: &[f64], samples_per_round: usize, tolerance: Tolerance) -> Option<Trend> {
    let second_half = &samples[samples.len() / 2..];
    let points = thin_out(&minima(second_half, samples_per_round));
    if points.len() < MIN_POINTS {
        return None;
    }
    let growth = median(slopes(&points)) * to_f64(points.len());
    let median = median(points.clone());
    let tolerated = tolerance.absolute.max(median * tolerance.share);
    Some(Trend {
        median,
        growth,
        tolerated,
        grows: growth > tolerated && rises_significantly(&points),
    })
}

/// The lowest sample of each round. Rounds are counted from the end; an incomplete first round is
/// left out.
fn minima(samples: &[f64], samples_per_round: usize) -> Vec<f64> {
    let minimum = |round: &[f64]| round.iter().copied().fold(f64::INFINITY, f64::min);
    let rounds = samples.rchunks_exact(samples_per_round.max(1));
    let mut minima: Vec<_> = rounds.map(minimum).collect();
    minima.reverse();
    minima
}

fn thin_out(points: &[f64]) -> Vec<f64> {
    let chunk_size = points.len().div_ceil(MAX_POINTS).max(1);
    let chunks = points.chunks_exact(chunk_size);
    chunks.map(|chunk| median(chunk.to_vec())).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
    f64::midpoint(low, high)
}

/// The indices of all pairs, the earlier point first.
fn pairs(points: &[f64]) -> impl Iterator<Item = (usize, usize)> {
    let count = points.len();
    (0..count).flat_map(move |first| (first + 1..count).map(move |second| (first, second)))
}

fn slopes(points: &[f64]) -> Vec<f64> {
    pairs(points)
        .map(|(first, second)| (points[second] - points[first]) / to_f64(second - first))
        .collect()
}

fn rises_significantly(points: &[f64]) -> bool {
    let (mut rises, mut falls) = (0_u32, 0_u32);
    for (first, second) in pairs(points) {
        rises += u32::from(points[second] > points[first]);
        falls += u32::from(points[second] < points[first]);
    }
    let n = to_f64(points.len());
    let deviation = (n * (n - 1.0) * (2.0 * n + 5.0) / 18.0).sqrt();
    (f64::from(rises) - f64::from(falls)) / deviation > SIGNIFICANT_DEVIATION
}

#[expect(clippy::cast_precision_loss, reason = "counts of samples")]
fn to_f64(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    const TOLERANCE: Tolerance = Tolerance {
        absolute: 5.0,
        share: 0.05,
    };
    const SAMPLES_PER_ROUND: usize = 10;

    /// The trend of 200 samples. `deviation` gives the deviation of each sample from 50, from the
    /// sample's number and a random number between -1 and 1.
    fn trend_of(seed: u64, deviation: impl Fn(f64, f64) -> f64) -> Trend {
        let mut random = StdRng::seed_from_u64(seed);
        let samples: Vec<_> = (0..200)
            .map(|n| 50.0 + deviation(f64::from(n), random.random_range(-1.0..1.0)))
            .collect();
        trend(&samples, SAMPLES_PER_ROUND, TOLERANCE).unwrap()
    }

    #[test]
    fn noise_and_short_peaks_are_no_growth() {
        for seed in 0..50 {
            assert!(
                !trend_of(seed, |_, noise| 10.0 * noise).grows,
                "noise {seed}"
            );
            assert!(
                !trend_of(seed, |n, noise| n % 17.0 + noise).grows,
                "saw tooth {seed}"
            );
            let peaks = |n: f64, noise: f64| if n % 25.0 < 2.0 { 500.0 } else { noise };
            assert!(!trend_of(seed, peaks).grows, "peaks {seed}");
        }
    }

    #[test]
    fn growth_within_each_round_is_no_growth_wherever_the_soak_ends() {
        for end in 100..200 {
            let samples: Vec<_> = (0..end).map(|n| 30.0 + f64::from(10 * (n % 10))).collect();
            let trend = trend(&samples, SAMPLES_PER_ROUND, TOLERANCE).unwrap();
            assert_eq!((trend.growth, trend.grows), (0.0, false), "{end}");
        }
    }

    #[test]
    fn growth_in_the_first_half_alone_is_no_growth() {
        let settling = |n: f64, noise: f64| 40.0 * (1.0 - (-n / 20.0).exp()) + noise;
        assert!(!trend_of(1, settling).grows);
        let last_peak = |n: f64, _: f64| if n > 190.0 { 100.0 } else { 0.0 };
        assert!(!trend_of(1, last_peak).grows);
    }

    #[test]
    fn a_leak_is_growth_under_noise_and_in_steps() {
        for seed in 0..50 {
            let trend = trend_of(seed, |n, noise| 0.1 * n + 5.0 * noise);
            assert!(
                trend.grows && (7.0..13.0).contains(&trend.growth),
                "{seed}: {trend:?}"
            );
            assert!(
                trend_of(seed, |n, noise| 8.0 * (n / 20.0).floor() + noise).grows,
                "steps {seed}"
            );
            assert!(
                trend_of(seed, |n, noise| n % 10.0 + 0.1 * n + noise).grows,
                "rising saw tooth {seed}"
            );
        }
    }

    #[test]
    fn a_metric_that_shrinks_or_grows_less_than_tolerated_does_not_grow() {
        assert!(!trend_of(1, |n, noise| noise - 0.1 * n).grows);
        assert!(!trend_of(1, |n, _| 0.02 * n).grows);
    }

    #[test]
    fn many_samples_are_thinned_out_and_too_few_give_no_trend() {
        let long: Vec<_> = (0..100_000).map(|n| f64::from(n) / 1000.0).collect();
        assert_eq!(trend(&[1.0; 90], SAMPLES_PER_ROUND, TOLERANCE), None);
        let trend = trend(&long, SAMPLES_PER_ROUND, TOLERANCE).unwrap();
        assert!(
            trend.grows && (trend.growth - 50.0).abs() < 1.0,
            "{trend:?}"
        );
    }
}
