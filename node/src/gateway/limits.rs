//! Rate limits: how fast one user may send and one address may try passwords.
//!
//! Generous on purpose: they stop a runaway client, not a busy one; real backpressure is the credit of a session
//! and the permits of a shard. The rule is GCRA (ITU-T I.371): one instant per key and no timer. Monotonic time,
//! so that a jumping wall clock neither locks out nor lets through.

use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use chat::UserId;
use lru::LruCache;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::time::Instant;

/// Messages a user may send at once on one node.
const SEND_BURST: u32 = 20_000;
/// Messages a second that a user may keep up on one node: far beyond any human, near what one shard takes.
const SENDS_PER_SECOND: u32 = 10_000;
/// Sign-ins and registrations from one address at once: a whole office may sit behind it.
const LOGIN_BURST: u32 = 5_000;
/// Sign-ins and registrations a second that one address may keep up.
const LOGINS_PER_SECOND: u32 = 50;
/// Keys remembered per limit; the least recently used is forgotten, which can only be in its favour.
const KEYS_MAX: usize = 65_536;

/// An allowance is spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("too many requests; the next one is allowed in {retry_after:?}")]
pub(crate) struct TooFast {
    /// When the next one is allowed.
    pub(crate) retry_after: Duration,
}

/// One key's allowance.
#[derive(Debug)]
pub(crate) struct Bucket {
    interval: Duration,
    /// How far the theoretical arrival time may run ahead of now.
    tolerance: Duration,
    /// When the bucket would be full again.
    full_at: Mutex<Option<Instant>>,
}

impl Bucket {
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        assert!(per_second > 0 && burst > 0, "a limit of nothing would refuse everything");
        let interval = Duration::from_secs(1) / per_second;
        Self { interval, tolerance: interval * (burst - 1), full_at: Mutex::new(None) }
    }

    /// Takes one.
    ///
    /// # Errors
    /// [`TooFast`] when it is spent; nothing is taken then.
    pub(crate) fn take(&self, now: Instant) -> Result<(), TooFast> {
        let mut full_at = self.full_at.lock();
        let arrival = full_at.map_or(now, |at| at.max(now));
        let ahead = arrival - now;
        if ahead > self.tolerance {
            return Err(TooFast { retry_after: ahead - self.tolerance });
        }
        *full_at = Some(arrival + self.interval);
        Ok(())
    }
}

/// A bucket for each key that was seen lately.
struct Keyed<K: Hash + Eq> {
    per_second: u32,
    burst: u32,
    buckets: Mutex<LruCache<K, Arc<Bucket>>>,
}

impl<K: Hash + Eq> Keyed<K> {
    fn new(per_second: u32, burst: u32) -> Self {
        Self { per_second, burst, buckets: Mutex::new(LruCache::unbounded()) }
    }

    fn bucket(&self, key: K) -> Arc<Bucket> {
        let mut buckets = self.buckets.lock();
        let fresh = || Arc::new(Bucket::new(self.per_second, self.burst));
        let bucket = Arc::clone(buckets.get_or_insert(key, fresh));
        if buckets.len() > KEYS_MAX {
            buckets.pop_lru();
        }
        bucket
    }
}

/// How fast is too fast.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rates {
    /// Messages a second and user.
    pub(crate) sends_per_second: u32,
    /// Messages of a user at once.
    pub(crate) send_burst: u32,
    /// Sign-ins and registrations a second and address.
    pub(crate) logins_per_second: u32,
    /// Sign-ins and registrations of an address at once.
    pub(crate) login_burst: u32,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            sends_per_second: SENDS_PER_SECOND,
            send_burst: SEND_BURST,
            logins_per_second: LOGINS_PER_SECOND,
            login_burst: LOGIN_BURST,
        }
    }
}

/// All limits of a node. Kept in memory: a restart forgives.
pub(crate) struct Limits {
    sends: Keyed<UserId>,
    logins: Keyed<Option<IpAddr>>,
}

impl Limits {
    /// Limits at `rates`.
    #[must_use]
    pub(crate) fn new(rates: Rates) -> Self {
        Self {
            sends: Keyed::new(rates.sends_per_second, rates.send_burst),
            logins: Keyed::new(rates.logins_per_second, rates.login_burst),
        }
    }

    /// What `user` may send, shared by all of the user's links on this node.
    pub(crate) fn sends(&self, user: &UserId) -> Arc<Bucket> {
        self.sends.bucket(user.clone())
    }

    /// Takes one sign-in from what `address` may try; addresses that are not known share one allowance.
    pub(crate) fn login(&self, now: Instant, address: Option<IpAddr>) -> Result<(), TooFast> {
        self.logins.bucket(address).take(now)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new(Rates::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_burst_is_allowed_then_the_rate_holds() {
        let bucket = Bucket::new(10, 3);
        let start = Instant::now();
        for _ in 0..3 {
            assert_eq!(bucket.take(start), Ok(()));
        }
        let wait = bucket.take(start).expect_err("the burst is spent").retry_after;
        assert_eq!(wait, Duration::from_millis(100));
        assert_eq!(bucket.take(start + wait), Ok(()));
        assert!(bucket.take(start + wait).is_err());
    }

    #[tokio::test]
    async fn a_refused_attempt_costs_nothing() {
        let bucket = Bucket::new(1, 1);
        let start = Instant::now();
        assert_eq!(bucket.take(start), Ok(()));
        for _ in 0..100 {
            assert!(bucket.take(start).is_err());
        }
        assert_eq!(bucket.take(start + Duration::from_secs(1)), Ok(()));
    }

    #[tokio::test]
    async fn addresses_do_not_share_but_one_address_does() {
        let rates = Rates { login_burst: 1, logins_per_second: 1, ..Rates::default() };
        let limits = Limits::new(rates);
        let (one, two) = (Some(IpAddr::from([10, 0, 0, 1])), Some(IpAddr::from([10, 0, 0, 2])));
        let now = Instant::now();
        assert!(limits.login(now, one).is_ok());
        assert!(limits.login(now, one).is_err());
        assert!(limits.login(now, two).is_ok());
    }
}
