//! When a link of a node that is to be left should go: at a moment of its own, so that those who go do not all arrive
//! elsewhere at once; and how long it may take over it.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// Over how much time the links of this node shall go; `None` while they may stay.
pub(crate) type Leaving = watch::Receiver<Option<Duration>>;

/// How long a link that was told to go may stay: a dial, a handshake and what is under way.
const STAY_MAX: Duration = Duration::from_secs(5);

/// What a link has to do about it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Tell the client where to go, and go on meanwhile.
    Tell,
    /// It has been told, and is still here: end it.
    End,
}

/// One link's way out.
#[derive(Debug, Default)]
pub(super) struct Departure {
    next: Option<(Instant, Due)>,
}

impl Departure {
    /// The links of this node shall go over this much time, or may stay. `dice` gives this one its moment.
    pub(super) fn plan(&mut self, over: Option<Duration>, now: Instant, dice: u64) {
        self.next = over.map(|over| {
            let part = dice % (u64::try_from(over.as_millis()).unwrap_or(u64::MAX).max(1));
            (now + Duration::from_millis(part), Due::Tell)
        });
    }

    /// When there is something to do.
    pub(super) fn at(&self) -> Option<Instant> {
        self.next.map(|(at, _)| at)
    }

    /// What is due, once.
    pub(super) fn take(&mut self, now: Instant) -> Option<Due> {
        let (_, due) = self.next.filter(|(at, _)| *at <= now)?;
        self.next = match due {
            Due::Tell => Some((now + STAY_MAX, Due::End)),
            Due::End => None,
        };
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_go_spread_over_the_time_and_are_ended_only_when_they_stay() {
        let (now, over) = (Instant::now(), Duration::from_secs(20));
        let told = |dice: u64| {
            let mut departure = Departure::default();
            departure.plan(Some(over), now, dice);
            departure.at().expect("it shall go") - now
        };
        let mut seconds = [0; 20];
        for dice in 0..2_000u64 {
            seconds[told(dice.wrapping_mul(0x9e37_79b9_7f4a_7c15)).as_secs() as usize] += 1;
        }
        assert!(seconds.iter().all(|count| (50..200).contains(count)), "{seconds:?}");
        let mut departure = Departure::default();
        departure.plan(Some(over), now, 3_000);
        let at = departure.at().expect("it shall go");
        assert_eq!(departure.take(at - Duration::from_millis(1)), None);
        assert_eq!(departure.take(at), Some(Due::Tell));
        assert_eq!(departure.take(at), None, "told once");
        assert_eq!(departure.take(at + STAY_MAX), Some(Due::End));
        assert_eq!(departure.at(), None);
        departure.plan(Some(over), now, 1);
        departure.plan(None, now, 1);
        assert_eq!(departure.at(), None, "the drain was taken back");
    }
}
