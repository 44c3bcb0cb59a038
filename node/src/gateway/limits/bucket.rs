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
pub(crate) struct Bucket {
    interval: Duration,
    /// How far the theoretical arrival time may run ahead of now.
    tolerance: Duration,
    /// When the bucket would be full again.
    full_at: Mutex<Option<Instant>>,
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
        let Rate { per_second, burst } = rate;
        assert!(per_second > 0 && burst > 0, "a limit of nothing would refuse everything");
        let interval = Duration::from_secs(1) / per_second;
        Self { interval, tolerance: interval * (burst - 1), full_at: Mutex::new(None) }
    }

    /// Takes one.
    ///
    /// # Errors
    /// [`TooFast`] when it is spent; nothing is taken then.
    pub(crate) fn take(&self, now: Instant) -> Result<Left, TooFast> {
        let mut full_at = self.full_at.lock();
        let arrival = full_at.map_or(now, |at| at.max(now));
        let ahead = arrival - now;
        if ahead > self.tolerance {
            return Err(TooFast { retry_after: ahead - self.tolerance });
        }
        *full_at = Some(arrival + self.interval);
        let count = (self.tolerance - ahead).as_nanos() / self.interval.as_nanos().max(1);
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        Ok(Left { count, full_in: ahead + self.interval })
    }
}

/// A bucket for each key that was seen lately.
pub(super) struct Keyed<K: Hash + Eq> {
    name: &'static str,
    rate: Rate,
    buckets: Mutex<LruCache<K, Arc<Bucket>>>,
}

impl<K: Hash + Eq> Keyed<K> {
    pub(super) fn new(name: &'static str, rate: Rate) -> Self {
        Self { name, rate, buckets: Mutex::new(LruCache::unbounded()) }
    }

    pub(super) fn bucket(&self, key: K) -> Arc<Bucket> {
        let mut buckets = self.buckets.lock();
        let fresh = || Arc::new(Bucket::new(self.rate));
        let bucket = Arc::clone(buckets.get_or_insert(key, fresh));
        if buckets.len() > KEYS_MAX {
            buckets.pop_lru();
        }
        bucket
    }

    pub(super) fn take(&self, now: Instant, key: K) -> Told {
        Told { name: self.name, rate: self.rate, left: self.bucket(key).take(now) }
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
