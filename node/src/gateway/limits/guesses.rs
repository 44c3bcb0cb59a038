//! Wrong passwords: after some of them, an address waits longer and longer before it may try the same account again.
//!
//! No lock-out: the account stays open to every other address, so nobody can shut a user out by guessing badly. An
//! attempt counts when it begins, so that many at once are not all the first. Whether the account exists makes no
//! difference.

use std::net::IpAddr;
use std::time::Duration;

use chat::UserId;
use lru::LruCache;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{KEYS_MAX, TooFast};

/// Attempts before the first wait: more than all of a user's devices at once, each with a typing error or two.
const FREE: u32 = 30;
/// The first wait; each further attempt doubles it.
const WAIT: Duration = Duration::from_secs(1);
/// Doublings at most: about a minute, which leaves a guesser some thousand attempts a day.
const DOUBLINGS_MAX: u32 = 6;
/// After this long without an attempt everything is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(15 * 60);

struct Tries {
    count: u32,
    last: Instant,
    next: Instant,
}

/// The attempts of each address at each account.
pub(super) struct Guesses(Mutex<LruCache<(UserId, Option<IpAddr>), Tries>>);

impl Default for Guesses {
    fn default() -> Self {
        Self(Mutex::new(LruCache::unbounded()))
    }
}

impl Guesses {
    /// Counts one attempt.
    pub(super) fn begin(
        &self,
        now: Instant,
        user: &UserId,
        address: Option<IpAddr>,
    ) -> Result<(), TooFast> {
        let mut all = self.0.lock();
        let fresh = || Tries { count: 0, last: now, next: now };
        let tries = all.get_or_insert_mut((user.clone(), address), fresh);
        if now.saturating_duration_since(tries.last) >= FORGET_AFTER {
            *tries = fresh();
        }
        if now < tries.next {
            return Err(TooFast { retry_after: tries.next - now });
        }
        tries.count = tries.count.saturating_add(1);
        tries.last = now;
        if let Some(beyond) = tries.count.checked_sub(FREE) {
            tries.next = now + WAIT * 2_u32.pow(beyond.min(DOUBLINGS_MAX));
        }
        if all.len() > KEYS_MAX {
            all.pop_lru();
        }
        Ok(())
    }

    /// The attempt was right: this address knows the password.
    pub(super) fn right(&self, user: &UserId, address: Option<IpAddr>) {
        self.0.lock().pop(&(user.clone(), address));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_guesser_waits_longer_and_longer_and_nobody_else_does() {
        let guesses = Guesses::default();
        let [alice, bob] = ["alice", "bob"].map(|name| UserId::parse(name).expect("legal"));
        let [here, there] = [1, 2].map(|last| Some(IpAddr::from([10, 0, 0, last])));
        let mut now = Instant::now();
        for _ in 0..FREE {
            assert_eq!(guesses.begin(now, &alice, here), Ok(()));
        }
        for wait in [1, 2, 4, 8, 16, 32, 64, 64] {
            let wait = Duration::from_secs(wait);
            let refused = guesses.begin(now, &alice, here);
            assert_eq!(refused, Err(TooFast { retry_after: wait }));
            assert_eq!(guesses.begin(now, &alice, there), Ok(()), "no lock-out");
            assert_eq!(guesses.begin(now, &bob, here), Ok(()));
            now += wait;
            assert_eq!(guesses.begin(now, &alice, here), Ok(()));
        }
        guesses.right(&alice, here);
        assert_eq!(guesses.begin(now, &alice, here), Ok(()));
        assert_eq!(guesses.begin(now, &alice, here), Ok(()));
    }

    #[tokio::test]
    async fn who_stops_guessing_is_forgiven() {
        let guesses = Guesses::default();
        let alice = UserId::parse("alice").expect("legal");
        let start = Instant::now();
        for _ in 0..FREE {
            assert_eq!(guesses.begin(start, &alice, None), Ok(()));
        }
        assert!(guesses.begin(start, &alice, None).is_err());
        let later = start + FORGET_AFTER;
        for _ in 0..FREE {
            assert_eq!(guesses.begin(later, &alice, None), Ok(()));
        }
    }
}
