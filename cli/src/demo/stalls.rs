//! How long sends stood still around each fault. Pure: the caller brings the times.
//!
//! The stall of a fault is the longest time that any send waited for its acknowledgement, among the
//! sends in flight at any moment of the fault or begun within [`AFTER`] of its end.

use std::time::Duration;

/// Sends begun this long after a fault still count for it.
pub(crate) const AFTER: Duration = Duration::from_secs(2);

/// The stalls of all faults of a run. Times are since the run began.
#[derive(Debug, Default)]
pub(crate) struct Stalls {
    windows: Vec<Window>,
}

#[derive(Debug)]
struct Window {
    began: Duration,
    ended: Option<Duration>,
    longest: Duration,
}

impl Stalls {
    /// A fault begins. Returns its number.
    pub(crate) fn begin(&mut self, at: Duration) -> usize {
        self.windows.push(Window { began: at, ended: None, longest: Duration::ZERO });
        self.windows.len() - 1
    }

    /// The fault is over: healed, or the node serves again.
    pub(crate) fn end(&mut self, fault: usize, at: Duration) {
        self.windows[fault].ended = Some(at);
    }

    /// A send that began at `began` was answered at `answered`.
    pub(crate) fn note(&mut self, began: Duration, answered: Duration) {
        for window in self.windows.iter_mut().rev() {
            // Faults follow each other: what began too late for this one did so for those before.
            if window.ended.is_some_and(|ended| began > ended + AFTER) {
                break;
            }
            if answered >= window.began {
                window.longest = window.longest.max(answered.saturating_sub(began));
            }
        }
    }

    pub(crate) fn longest(&self, fault: usize) -> Duration {
        self.windows[fault].longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn sends_in_flight_during_or_begun_just_after_a_fault_count_and_no_others() {
        let mut stalls = Stalls::default();
        let fault = stalls.begin(s(10));
        stalls.note(s(1), s(9));
        assert_eq!(stalls.longest(fault), s(0), "answered before it began");
        stalls.note(s(8), s(11));
        assert_eq!(stalls.longest(fault), s(3), "in flight when it began");
        stalls.end(fault, s(12));
        stalls.note(s(14), s(18));
        assert_eq!(stalls.longest(fault), s(4), "begun within two seconds after it");
        stalls.note(s(15), s(25));
        assert_eq!(stalls.longest(fault), s(4), "begun later");
    }

    #[test]
    fn each_fault_has_its_own_stall() {
        let mut stalls = Stalls::default();
        let first = stalls.begin(s(1));
        stalls.end(first, s(2));
        let second = stalls.begin(s(10));
        stalls.note(s(10), s(16));
        assert_eq!((stalls.longest(first), stalls.longest(second)), (s(0), s(6)));
        stalls.note(s(1), s(12));
        assert_eq!(stalls.longest(first), s(11), "one send may stand still through both");
    }
}
