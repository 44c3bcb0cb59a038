//! One allowance, by GCRA (ITU-T I.371): one instant per key and no timer.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use lru::LruCache;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{KEYS_MAX, Told, TooFast};
use crate::config::Rate;

/// One key's allowance.
#[derive(Debug)]
pub(crate) struct Bucket(Mutex<Level>);

#[derive(Debug)]
struct Level {
    interval: Duration,
    /// How far the theoretical arrival time may run ahead of now.
    tolerance: Duration,
    /// When the bucket would be full again.
    full_at: Option<Instant>,
}

impl Level {
    fn new(rate: Rate) -> Self {
        let Rate { per_second, burst } = rate;
        assert!(per_second > 0 && burst > 0, "a limit of nothing would refuse everything");
        let interval = Duration::from_secs(1) / per_second;
        Self { interval, tolerance: interval * (burst - 1), full_at: None }
    }
}

/// What is left after one was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    /// How many more at once.
    pub(crate) count: u64,
    /// When all of it is there again.
    pub(crate) full_in: Duration,
}

impl Bucket {
    pub(crate) fn new(rate: Rate) -> Self {
        Self(Mutex::new(Level::new(rate)))
    }

    /// Goes on at another rate. What was spent stays spent, for as long as it takes at the old one.
    fn change(&self, rate: Rate) {
        let mut level = self.0.lock();
        *level = Level { full_at: level.full_at, ..Level::new(rate) };
    }

    /// Takes one.
    ///
    /// # Errors
    /// [`TooFast`] when it is spent; nothing is taken then.
    pub(crate) fn take(&self, now: Instant) -> Result<Left, TooFast> {
        let mut level = self.0.lock();
        let Level { interval, tolerance, full_at } = &mut *level;
        let arrival = full_at.map_or(now, |at| at.max(now));
        let ahead = arrival - now;
        if ahead > *tolerance {
            return Err(TooFast { retry_after: ahead - *tolerance });
        }
        *full_at = Some(arrival + *interval);
        let count = (*tolerance - ahead).as_nanos() / interval.as_nanos().max(1);
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        Ok(Left { count, full_in: ahead + *interval })
    }
}

/// A bucket for each key that was seen lately.
pub(super) struct Keyed<K: Hash + Eq> {
    name: &'static str,
    known: Mutex<Known<K>>,
}

struct Known<K: Hash + Eq> {
    rate: Rate,
    buckets: LruCache<K, Arc<Bucket>>,
}

impl<K: Hash + Eq> Keyed<K> {
    pub(super) fn new(name: &'static str, rate: Rate) -> Self {
        Self { name, known: Mutex::new(Known { rate, buckets: LruCache::unbounded() }) }
    }

    /// Goes on at another rate. Who holds a bucket that was forgotten here keeps the old one.
    pub(super) fn change(&self, rate: Rate) {
        let mut known = self.known.lock();
        if known.rate != rate {
            known.rate = rate;
            known.buckets.iter().for_each(|(_, bucket)| bucket.change(rate));
        }
    }

    pub(super) fn bucket(&self, key: K) -> Arc<Bucket> {
        self.rated(key).1
    }

    fn rated(&self, key: K) -> (Rate, Arc<Bucket>) {
        let Known { rate, buckets } = &mut *self.known.lock();
        let fresh = || Arc::new(Bucket::new(*rate));
        let bucket = Arc::clone(buckets.get_or_insert(key, fresh));
        if buckets.len() > KEYS_MAX {
            buckets.pop_lru();
        }
        (*rate, bucket)
    }

    pub(super) fn take(&self, now: Instant, key: K) -> Told {
        let (rate, bucket) = self.rated(key);
        Told { name: self.name, rate, left: bucket.take(now) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(per_second: u32, burst: u32) -> Bucket {
        Bucket::new(Rate { per_second, burst })
    }

    #[tokio::test]
    async fn a_burst_is_allowed_then_the_rate_holds() {
        let bucket = bucket(10, 3);
        let start = Instant::now();
        for left in [2, 1, 0] {
            assert_eq!(bucket.take(start).map(|left| left.count), Ok(left));
        }
        let wait = bucket.take(start).expect_err("the burst is spent").retry_after;
        assert_eq!(wait, Duration::from_millis(100));
        let again = bucket.take(start + wait).expect("one is there again");
        assert_eq!(again, Left { count: 0, full_in: Duration::from_millis(300) });
        assert!(bucket.take(start + wait).is_err());
    }

    #[tokio::test]
    async fn another_rate_holds_at_once_for_those_who_are_known_too() {
        let keyed = Keyed::new("sends", Rate { per_second: 10, burst: 3 });
        let (held, start) = (keyed.bucket("ada"), Instant::now());
        assert!(held.take(start).is_ok());
        keyed.change(Rate { per_second: 1, burst: 1 });
        let wait = held.take(start).expect_err("one was taken").retry_after;
        assert_eq!(wait, Duration::from_millis(100), "what was spent stays spent");
        assert!(held.take(start + wait).is_ok());
        assert!(held.take(start + wait).is_err(), "one a second");
        let told = keyed.take(start, "eve");
        assert_eq!((told.rate.burst, told.left.map(|left| left.count)), (1, Ok(0)));
    }

    #[tokio::test]
    async fn a_refused_attempt_costs_nothing() {
        let bucket = bucket(1, 1);
        let start = Instant::now();
        assert!(bucket.take(start).is_ok());
        for _ in 0..100 {
            assert!(bucket.take(start).is_err());
        }
        assert!(bucket.take(start + Duration::from_secs(1)).is_ok());
    }
}
