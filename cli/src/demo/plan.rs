//! The schedule of faults: what is broken next, for how long, and what comes after. Pure, from a seed.

use std::time::Duration;

use crate::seed::Dice;

/// A kind of fault. The names are part of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// SIGKILL, and later a restart on the same data.
    Kill,
    /// Cut off from all other nodes in silence, and later healed.
    Partition,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Kill => "kill",
            Kind::Partition => "partition",
        }
    }
}

/// Whom it hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// The node that leads most shards: the one that hurts most.
    Busiest,
    /// The node at this place.
    Place(usize),
}

/// One fault to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Act {
    /// Quiet before it.
    pub(crate) pause: Duration,
    pub(crate) kind: Kind,
    pub(crate) target: Target,
    /// How long the node stays dead or cut off.
    pub(crate) hold: Duration,
}

/// Time that must remain after a fault: to heal, and for sends begun just after it to be seen.
const AFTERMATH: Duration = Duration::from_millis(1500);
/// A node holds its peers for dead after 400 ms; a shorter fault might go unnoticed.
const HOLD_MS: (u64, u64) = (1500, 3000);
/// Between two faults, so that each has its own stall: sends begun up to 2 s after one count for it.
const PAUSE_MS: (u64, u64) = (2200, 3500);
/// Before the first: bots have begun to talk.
const FIRST_PAUSE_MS: (u64, u64) = (1000, 1600);

/// The endless schedule of a seed.
pub(crate) struct Plan {
    dice: Dice,
    acts: u64,
}

impl Plan {
    pub(crate) fn new(seed: u64) -> Plan {
        Plan { dice: Dice::new(seed, 1), acts: 0 }
    }

    /// The next fault. Kills and partitions take turns; the first of each hits the busiest leader,
    /// later ones may hit anybody.
    pub(crate) fn next(&mut self, nodes: usize) -> Act {
        let (low, high) = if self.acts == 0 { FIRST_PAUSE_MS } else { PAUSE_MS };
        let pause = self.dice.between(low, high);
        let kind = if self.acts.is_multiple_of(2) { Kind::Kill } else { Kind::Partition };
        let place = usize::try_from(self.dice.below(nodes as u64)).expect("below a length");
        let busiest = self.acts < 2 || self.dice.below(3) > 0;
        let target = if busiest { Target::Busiest } else { Target::Place(place) };
        let hold = self.dice.between(HOLD_MS.0, HOLD_MS.1);
        self.acts += 1;
        Act { pause, kind, target, hold }
    }
}

impl Act {
    /// Whether there is time for it when the run ends in `remaining`. A long hold is shortened
    /// rather than left out.
    pub(crate) fn fit(mut self, remaining: Duration) -> Option<Act> {
        let room = remaining.checked_sub(self.pause + AFTERMATH)?;
        if room < Duration::from_millis(HOLD_MS.0) {
            return None;
        }
        self.hold = self.hold.min(room);
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_schedule() {
        let acts = |seed| {
            let mut plan = Plan::new(seed);
            (0..20).map(|_| plan.next(3)).collect::<Vec<_>>()
        };
        assert_eq!(acts(5), acts(5));
        assert_ne!(acts(5), acts(6));
    }

    #[test]
    fn eight_seconds_have_room_for_a_kill_and_thirty_for_both_kinds() {
        for seed in 0..200 {
            let faults = |total: u64| {
                let (mut plan, mut left) = (Plan::new(seed), Duration::from_secs(total));
                let mut kinds = Vec::new();
                while let Some(act) = plan.next(3).fit(left) {
                    kinds.push(act.kind);
                    left -= act.pause + act.hold;
                }
                kinds
            };
            assert_eq!(faults(8).first(), Some(&Kind::Kill), "seed {seed}");
            let both = faults(30);
            assert!(both.contains(&Kind::Partition) && both.len() >= 4, "seed {seed}: {both:?}");
        }
    }

    #[test]
    fn a_fault_without_room_is_left_out_and_a_long_one_is_shortened() {
        let act = Act {
            pause: Duration::from_secs(2),
            kind: Kind::Kill,
            target: Target::Busiest,
            hold: Duration::from_secs(3),
        };
        assert_eq!(act.fit(Duration::from_secs(4)), None);
        let fitted = act.fit(Duration::from_millis(5500)).expect("room for a short one");
        assert_eq!(fitted.hold, Duration::from_secs(2));
    }
}
