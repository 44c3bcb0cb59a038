//! The harness' only clock: the machine's monotonic one, in nanoseconds, the same for all processes of a run.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of the machine's monotonic clock.
#[must_use]
pub fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).expect("the monotonic clock begins at 0");
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).expect("a part of a second")
}

/// Does nothing for a while.
#[expect(clippy::disallowed_methods, reason = "the harness waits for processes of the machine")]
pub(crate) fn rest(time: Duration) {
    std::thread::sleep(time);
}

/// Asks every `every` until there is an answer, at most `patience` long.
pub(crate) fn within<T>(
    patience: Duration,
    every: Duration,
    mut ask: impl FnMut() -> Option<T>,
) -> Option<T> {
    let end = now_ns() + u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX / 2);
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if now_ns() >= end {
            return None;
        }
        rest(every);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_asks_at_least_once_and_at_last_gives_up() {
        let mut asked = 0;
        let answer = within(Duration::ZERO, Duration::ZERO, || {
            asked += 1;
            (asked == 2).then_some(asked)
        });
        assert!(answer.is_none() && asked == 1);
        let long = Duration::from_secs(60);
        assert_eq!(
            within(long, Duration::from_millis(1), || {
                asked += 1;
                (asked > 4).then_some(asked)
            }),
            Some(5)
        );
    }
}
