//! How long to wait before the next attempt: twice as long each time, with jitter, so that those who failed together do
//! not come back together.

use std::time::Duration;

use crate::clock::Entropy;
use crate::config::Push;

/// The pause after `attempts` failures; at least as long as the other side asked for, at most the longest pause.
pub(super) fn pause(
    settings: &Push,
    attempts: u32,
    asked: Option<Duration>,
    entropy: &dyn Entropy,
) -> Duration {
    let (min, max) = (settings.retry_min_ms, settings.retry_max_ms);
    let doubled = min.saturating_mul(1 << attempts.saturating_sub(1).min(40)).min(max);
    // Between a half and the whole.
    let jitter = entropy.number() % (doubled / 2 + 1);
    let drawn = Duration::from_millis(doubled - jitter);
    drawn.max(asked.unwrap_or_default()).min(Duration::from_millis(max))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SeededEntropy;

    #[test]
    fn pauses_grow_up_to_the_longest_and_heed_what_was_asked() {
        let settings = Push { retry_min_ms: 1000, retry_max_ms: 60_000, ..Push::default() };
        let entropy = SeededEntropy::new(7);
        for attempts in 1..100 {
            let whole = 1000_u64.saturating_mul(1 << (attempts - 1).min(40)).min(60_000);
            let pause = |asked| pause(&settings, attempts, asked, &entropy).as_millis();
            assert!((u128::from(whole / 2)..=u128::from(whole)).contains(&pause(None)));
            assert_eq!(pause(Some(Duration::from_secs(3600))), 60_000, "asked for, and bounded");
        }
        let distinct: std::collections::BTreeSet<_> =
            (0..20).map(|_| super::pause(&settings, 6, None, &entropy)).collect();
        assert!(distinct.len() > 10, "those who failed together come back apart");
    }
}
