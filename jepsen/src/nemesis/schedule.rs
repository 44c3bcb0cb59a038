//! When which fault comes and goes: a pure function of the seed and the terms.
//!
//! Where a quorum is to be kept, all faults of a period that can take a node away share the same few victims, and what
//! takes more than that is left out.

use std::time::Duration;

use crate::dice::Dice;

/// How faults follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// One fault a period.
    Single,
    /// Two at once.
    Pair,
    /// A new random subset every period, a quarter of the periods quiet.
    Mix,
    /// One after the other without healing, then healed in another order.
    Swizzle,
    /// One fault a period, always at whoever leads most.
    Targeted,
    /// Two at once, all pairs in turn: the periods of a seed go on where those of the seed before ended.
    EveryPair,
}

/// What a fault takes from the cluster while it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toll {
    /// All nodes go on, if slower or confused.
    Nothing,
    /// Its victims may be missing.
    Victims,
    /// Its victims change while it lasts: nothing else may be missing at the same time.
    Alone,
    /// There may be no quorum.
    Quorum,
}

/// A fault as a schedule sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub toll: Toll,
    /// Whether it means whoever leads most when it comes.
    pub leader: bool,
}

/// What a schedule must keep to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Nodes of the cluster.
    pub nodes: u8,
    /// Whether a quorum must be connected and alive at every moment.
    pub keep_quorum: bool,
    /// Time from one choice of faults to the next.
    pub period: Duration,
    /// Time of the whole schedule; whole periods only.
    pub length: Duration,
}

/// Whom a period's faults may hit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Victims {
    /// The nodes.
    pub nodes: Vec<u8>,
    /// Whether the first is to be replaced by whoever leads most.
    pub leader: bool,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Wait until every node that is not harmed serves.
    Settle,
    /// Install the fault of this number.
    Install {
        /// Its place in the list of kinds.
        fault: usize,
        /// Whom it may hit.
        victims: Victims,
        /// Seed of its own choices.
        seed: u64,
    },
    /// Heal the fault of this number.
    Heal {
        /// Its place in the list of kinds.
        fault: usize,
    },
}

/// What to do when, in the order of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Time since the beginning, and what to do then.
    pub steps: Vec<(Duration, Act)>,
}

impl Schedule {
    /// How many pairs of so many faults there are.
    #[must_use]
    pub fn pairs(faults: usize) -> usize {
        faults * faults.saturating_sub(1) / 2
    }

    /// Draws a schedule. Without a kind that the terms admit it is empty.
    #[must_use]
    pub fn draw(seed: u64, kinds: &[Kind], mode: Mode, terms: &Terms) -> Self {
        let mut drawing = Drawing {
            dice: Dice::new(seed, 0x6e65_6d65),
            kinds,
            terms,
            mode,
            turn: 0,
            steps: Vec::new(),
        };
        let admitted: Vec<usize> = (0..kinds.len()).filter(|n| drawing.admits(*n)).collect();
        let periods = terms.length.as_millis() / terms.period.as_millis().max(1);
        let periods = u32::try_from(periods).unwrap_or(0);
        let before = seed.wrapping_sub(1).wrapping_mul(u64::from(periods));
        for period in 0..periods {
            if !admitted.is_empty() {
                drawing.turn = before.wrapping_add(u64::from(period));
                drawing.period(terms.period * period, &admitted);
            }
        }
        Self { steps: drawing.steps }
    }

    /// Time until the last step.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.steps.last().map_or(Duration::ZERO, |(at, _)| *at)
    }
}

struct Drawing<'a> {
    dice: Dice,
    kinds: &'a [Kind],
    terms: &'a Terms,
    mode: Mode,
    /// The number of the period, over all seeds.
    turn: u64,
    steps: Vec<(Duration, Act)>,
}

impl Drawing<'_> {
    fn admits(&self, fault: usize) -> bool {
        !self.terms.keep_quorum || self.kinds[fault].toll != Toll::Quorum
    }

    fn period(&mut self, begin: Duration, admitted: &[usize]) {
        self.steps.push((begin, Act::Settle));
        let wanted = match self.mode {
            Mode::Single | Mode::Targeted => 1,
            Mode::Pair | Mode::EveryPair => 2,
            Mode::Mix if self.dice.chance(250) => 0,
            Mode::Mix => 1 + self.dice.index(3),
            Mode::Swizzle => 3,
        };
        let chosen = match self.mode {
            Mode::EveryPair if admitted.len() > 1 => self.pair(admitted),
            _ => self.choose(wanted, admitted),
        };
        let victims = self.victims(&chosen);
        let period = self.terms.period;
        let mut heals = Vec::new();
        for (place, fault) in chosen.iter().enumerate() {
            // Swizzle: one by one over the first half; else all at the beginning.
            let nth = u32::try_from(place).unwrap_or(0);
            let later = if self.mode == Mode::Swizzle { period * nth / 6 } else { Duration::ZERO };
            let seed = self.dice.roll();
            let act = Act::Install { fault: *fault, victims: victims.clone(), seed };
            self.steps.push((begin + later, act));
            heals.push(*fault);
        }
        self.heal(begin, heals);
    }

    /// Heals at two thirds of the period; swizzled, one by one in another order over the second half.
    fn heal(&mut self, begin: Duration, mut faults: Vec<usize>) {
        let period = self.terms.period;
        let mut at = begin + period * 2 / 3;
        if self.mode == Mode::Swizzle {
            at = begin + period / 2;
        }
        while !faults.is_empty() {
            let fault = faults.swap_remove(self.dice.index(faults.len()));
            self.steps.push((at, Act::Heal { fault }));
            if self.mode == Mode::Swizzle {
                at += period / 8;
            }
        }
    }

    /// The pair whose turn it is; only the first of both where they may not come together.
    fn pair(&self, admitted: &[usize]) -> Vec<usize> {
        let seconds = |first: usize| (first + 1..admitted.len()).map(move |second| [first, second]);
        let pairs: Vec<[usize; 2]> = (0..admitted.len()).flat_map(seconds).collect();
        let place = usize::try_from(self.turn % pairs.len() as u64).expect("below a length");
        let pair = pairs[place].map(|place| admitted[place]);
        if self.clash(pair[0], pair[1]) { vec![pair[0]] } else { pair.to_vec() }
    }

    /// Whether a quorum might be lost if both came together.
    fn clash(&self, one: usize, other: usize) -> bool {
        let lonely = |n: usize| self.terms.keep_quorum && self.kinds[n].toll == Toll::Alone;
        let harmful = |n: usize| self.kinds[n].toll != Toll::Nothing;
        lonely(one) && harmful(other) || lonely(other) && harmful(one)
    }

    /// So many different faults that may come together.
    fn choose(&mut self, wanted: usize, admitted: &[usize]) -> Vec<usize> {
        let mut left = admitted.to_vec();
        let mut chosen: Vec<usize> = Vec::new();
        while chosen.len() < wanted && !left.is_empty() {
            let fault = left.swap_remove(self.dice.index(left.len()));
            if !chosen.iter().any(|other| self.clash(fault, *other)) {
                chosen.push(fault);
            }
        }
        chosen
    }

    /// A random minority, at least one node where there is a minority.
    fn victims(&mut self, chosen: &[usize]) -> Victims {
        let minority = usize::from((self.terms.nodes - 1) / 2);
        let mut nodes: Vec<u8> = (1..=self.terms.nodes).collect();
        for place in (1..nodes.len()).rev() {
            nodes.swap(place, self.dice.index(place + 1));
        }
        let count = if minority > 1 { 1 + self.dice.index(minority) } else { 1 };
        nodes.truncate(count);
        let leader = self.mode == Mode::Targeted || chosen.iter().any(|n| self.kinds[*n].leader);
        Victims { nodes, leader }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const KINDS: [Kind; 6] = [
        Kind { name: "loss", toll: Toll::Nothing, leader: false },
        Kind { name: "kill-one", toll: Toll::Victims, leader: false },
        Kind { name: "kill-leader", toll: Toll::Victims, leader: true },
        Kind { name: "rolling", toll: Toll::Alone, leader: false },
        Kind { name: "kill-all", toll: Toll::Quorum, leader: false },
        Kind { name: "pause", toll: Toll::Victims, leader: false },
    ];
    const MODES: [Mode; 6] =
        [Mode::Single, Mode::Pair, Mode::Mix, Mode::Swizzle, Mode::Targeted, Mode::EveryPair];

    fn terms(nodes: u8, keep_quorum: bool) -> Terms {
        let period = Duration::from_secs(12);
        Terms { nodes, keep_quorum, period, length: period * 20 }
    }

    #[test]
    fn the_same_seed_draws_the_same_schedule_and_another_does_not() {
        for mode in MODES {
            let draw = |seed| Schedule::draw(seed, &KINDS, mode, &terms(3, true));
            assert_eq!(draw(7), draw(7));
            assert_ne!(draw(7), draw(8), "{mode:?}");
        }
    }

    /// What is active after every step: the faults, and the nodes that may be missing.
    fn replay(schedule: &Schedule, mut look: impl FnMut(&[(usize, Victims)])) {
        let mut active: Vec<(usize, Victims)> = Vec::new();
        for (_, act) in &schedule.steps {
            match act {
                Act::Settle => {}
                Act::Install { fault, victims, .. } => active.push((*fault, victims.clone())),
                Act::Heal { fault } => active.retain(|(other, _)| other != fault),
            }
            look(&active);
        }
        assert!(active.is_empty(), "everything is healed at the end");
    }

    #[test]
    fn a_quorum_is_kept_at_every_moment() {
        for (mode, nodes) in MODES.into_iter().flat_map(|mode| [3, 5, 7].map(|nodes| (mode, nodes)))
        {
            for seed in 0..200 {
                let schedule = Schedule::draw(seed, &KINDS, mode, &terms(nodes, true));
                replay(&schedule, |active| {
                    let toll = |n: &usize| KINDS[*n].toll;
                    let missing: BTreeSet<u8> = active
                        .iter()
                        .filter(|(fault, _)| toll(fault) == Toll::Victims)
                        .flat_map(|(_, victims)| victims.nodes.clone())
                        .collect();
                    assert!(missing.len() * 2 < usize::from(nodes), "{mode:?} {seed} {missing:?}");
                    let lonely = active.iter().filter(|(n, _)| toll(n) == Toll::Alone).count();
                    let harm = active.iter().filter(|(n, _)| toll(n) != Toll::Nothing).count();
                    assert!(lonely == 0 || harm == 1, "{mode:?} {seed}");
                    assert!(active.iter().all(|(n, _)| toll(n) != Toll::Quorum));
                    // One leader a period: all of its faults mean the same one.
                    assert!(active.windows(2).all(|two| two[0].1 == two[1].1));
                });
            }
        }
    }

    #[test]
    fn without_the_duty_to_keep_a_quorum_it_is_broken_sometimes() {
        let quorum = |act: &Act| matches!(act, Act::Install { fault: 4, .. });
        let broken = (0..20).filter(|seed| {
            let schedule = Schedule::draw(*seed, &KINDS, Mode::Single, &terms(3, false));
            replay(&schedule, |_| {});
            schedule.steps.iter().any(|(_, act)| quorum(act))
        });
        assert!(broken.count() > 10);
    }

    #[test]
    fn consecutive_seeds_go_through_all_pairs_where_no_quorum_is_owed() {
        let period = Duration::from_secs(10);
        let terms = Terms { nodes: 3, keep_quorum: false, period, length: period * 5 };
        let mut pairs = BTreeSet::new();
        for seed in 1..=3 {
            let schedule = Schedule::draw(seed, &KINDS, Mode::EveryPair, &terms);
            replay(&schedule, |active| {
                if let [(one, _), (other, _)] = active {
                    pairs.insert((*one.min(other), *one.max(other)));
                }
            });
        }
        assert_eq!(pairs.len(), Schedule::pairs(KINDS.len()));
    }

    #[test]
    fn a_mix_has_quiet_periods_and_time_never_runs_backwards() {
        let (mut quiet, mut all) = (0, 0);
        for seed in 0..50 {
            let schedule = Schedule::draw(seed, &KINDS, Mode::Mix, &terms(3, true));
            assert!(schedule.steps.is_sorted_by_key(|(at, _)| *at));
            let acts: Vec<&Act> = schedule.steps.iter().map(|(_, act)| act).collect();
            quiet +=
                acts.windows(2).filter(|two| two.iter().all(|act| **act == Act::Settle)).count();
            all += acts.iter().filter(|act| ***act == Act::Settle).count();
        }
        assert!((all / 6..all / 3).contains(&quiet), "{quiet} of {all}");
    }

    #[test]
    fn a_swizzle_heals_in_another_order_than_it_harms() {
        let reordered = (0..20).any(|seed| {
            let schedule = Schedule::draw(seed, &KINDS, Mode::Swizzle, &terms(5, true));
            let harmed: Vec<usize> = schedule
                .steps
                .iter()
                .filter_map(|(_, act)| match act {
                    Act::Install { fault, .. } => Some(*fault),
                    _ => None,
                })
                .collect();
            let healed: Vec<usize> = schedule
                .steps
                .iter()
                .filter_map(|(_, act)| match act {
                    Act::Heal { fault } => Some(*fault),
                    _ => None,
                })
                .collect();
            harmed != healed
        });
        assert!(reordered);
    }
}
