//! Pauses between attempts: doubling, bounded, and spread so that clients do not come back all at once.

use std::time::Duration;

use super::limits::{BACKOFF_FIRST, BACKOFF_MAX};

/// A small generator of numbers that need not be secret (SplitMix64), from a seed that is handed in.
#[derive(Debug)]
pub(super) struct Jitter(u64);

impl Jitter {
    pub(super) fn new(seed: u64) -> Jitter {
        Jitter(seed)
    }

    /// Between half and the whole of the pause.
    fn spread(&mut self, pause: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let part = u32::try_from((mixed ^ (mixed >> 31)) % 512).expect("below 512");
        pause / 2 + pause / 1024 * part
    }

    /// The pause before attempt number `attempts + 1`, and at least what the node asked for.
    pub(super) fn pause(&mut self, attempts: u32, asked: Duration) -> Duration {
        let doubled = BACKOFF_FIRST.saturating_mul(1 << attempts.min(10));
        self.spread(doubled.min(BACKOFF_MAX)).max(asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_stay_bounded_and_honour_the_node() {
        let mut jitter = Jitter::new(7);
        for attempts in 0..40 {
            let pause = jitter.pause(attempts, Duration::ZERO);
            assert!(pause >= BACKOFF_FIRST / 2 && pause <= BACKOFF_MAX, "{attempts}: {pause:?}");
        }
        assert!(jitter.pause(20, Duration::ZERO) >= BACKOFF_MAX / 2);
        assert_eq!(jitter.pause(0, Duration::from_secs(9)), Duration::from_secs(9));
    }
}
