//! When the last of a group has a message: arrivals counted per message. Pure.

use std::collections::BTreeMap;

use tokio::time::Instant;

/// Messages that are counted at once; the oldest is forgotten, so that a member who is gone costs no memory.
const UNDER_WAY_MAX: usize = 65_536;

/// Arrivals of messages at a group's members. A message is known by when it was meant to be sent.
pub(super) struct Arrivals {
    members: u32,
    arrived: BTreeMap<Instant, u32>,
    everywhere: u64,
}

impl Arrivals {
    /// Of a group in which `members` receive each message.
    pub(super) fn of(members: u32) -> Arrivals {
        assert!(members > 0, "somebody must receive");
        Arrivals { members, arrived: BTreeMap::new(), everywhere: 0 }
    }

    /// One more member has the message. Whether it was the last one.
    pub(super) fn note(&mut self, meant_at: Instant) -> bool {
        let arrived = self.arrived.entry(meant_at).or_default();
        *arrived += 1;
        let last = *arrived == self.members;
        if last {
            self.everywhere += 1;
            self.arrived.remove(&meant_at);
        } else if self.arrived.len() > UNDER_WAY_MAX {
            self.arrived.pop_first();
        }
        last
    }

    /// Messages that every member has.
    pub(super) fn everywhere(&self) -> u64 {
        self.everywhere
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_last_of_each_message_is_told_once() {
        let mut arrivals = Arrivals::of(3);
        let (one, other) = (Instant::now(), Instant::now() + Duration::from_millis(1));
        let told: Vec<bool> =
            [one, other, one, one, other, other].map(|at| arrivals.note(at)).into();
        assert_eq!(told, [false, false, false, true, false, true]);
        assert_eq!(arrivals.everywhere(), 2);
        assert!(arrivals.arrived.is_empty(), "what has arrived everywhere is forgotten");
    }

    #[test]
    fn messages_that_never_arrive_everywhere_are_forgotten_in_the_end() {
        let mut arrivals = Arrivals::of(2);
        let start = Instant::now();
        for n in 0..2 * UNDER_WAY_MAX as u64 {
            assert!(!arrivals.note(start + Duration::from_nanos(n)));
        }
        assert!(arrivals.arrived.len() <= UNDER_WAY_MAX);
    }
}
