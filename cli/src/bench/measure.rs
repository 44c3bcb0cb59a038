//! What a benchmark counts, and how it is told.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tokio::time::Instant;

/// Waits up to two minutes with three digits; longer ones count as two minutes.
const LONGEST_US: u64 = 120_000_000;

/// Waits of one kind.
pub(super) struct Waits(Histogram<u64>);

impl Waits {
    pub(super) fn new() -> Waits {
        Waits(Histogram::new_with_bounds(1, LONGEST_US, 3).expect("bounds that fit"))
    }

    pub(super) fn note(&mut self, wait: Duration) {
        self.0.saturating_record(u64::try_from(wait.as_micros()).unwrap_or(u64::MAX).max(1));
    }

    pub(super) fn add(&mut self, other: &Waits) {
        self.0.add(&other.0).expect("the same bounds");
    }

    pub(super) fn count(&self) -> u64 {
        self.0.len()
    }

    fn ms(&self, quantile: f64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "microseconds of two minutes fit a float")]
        let ms = self.0.value_at_quantile(quantile) as f64 / 1000.0;
        ms
    }

    pub(super) fn json(&self) -> Value {
        json!({ "p50": self.ms(0.5), "p99": self.ms(0.99), "p999": self.ms(0.999) })
    }

    pub(super) fn words(&self) -> String {
        if self.count() == 0 {
            return "none".to_owned();
        }
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|q| self.ms(q));
        format!("p50 {p50:.2} ms   p99 {p99:.2} ms   p99.9 {p999:.2} ms")
    }
}

/// When is counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) from: Instant,
    pub(super) until: Instant,
}

impl Window {
    pub(super) fn starting_in(warmup: Duration, duration: Duration) -> Window {
        let from = Instant::now() + warmup;
        Window { from, until: from + duration }
    }

    pub(super) fn holds(&self, at: Instant) -> bool {
        self.from <= at && at < self.until
    }

    pub(super) fn seconds(&self) -> f64 {
        (self.until - self.from).as_secs_f64()
    }
}

/// What one thread, or all of them, counted within the window.
pub(super) struct Counts {
    pub(super) acks: Waits,
    pub(super) deliveries: Waits,
    /// Until the last of all members had a message, where that is counted.
    pub(super) last_arrivals: Waits,
    /// Answers that said no, links that broke, sends that were never answered.
    pub(super) errors: u64,
}

impl Counts {
    pub(super) fn new() -> Counts {
        Counts {
            acks: Waits::new(),
            deliveries: Waits::new(),
            last_arrivals: Waits::new(),
            errors: 0,
        }
    }

    pub(super) fn add(&mut self, other: &Counts) {
        self.acks.add(&other.acks);
        self.deliveries.add(&other.deliveries);
        self.last_arrivals.add(&other.last_arrivals);
        self.errors += other.errors;
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark fit a float")]
pub(super) fn precise(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_in_milliseconds_and_threads_add_up() {
        let (mut a, mut b) = (Waits::new(), Waits::new());
        for n in 1..=500 {
            a.note(Duration::from_micros(n * 10));
            b.note(Duration::from_micros(5000 + n * 10));
        }
        a.add(&b);
        assert_eq!(a.count(), 1000);
        let told = a.json();
        let close = |name: &str, ms: f64| (told[name].as_f64().expect("a number") - ms).abs() < 0.1;
        assert!(close("p50", 5.0) && close("p99", 9.9), "{told}");
        a.note(Duration::from_secs(3600));
        assert_eq!(a.count(), 1001, "a wait beyond the range still counts");
    }
}
