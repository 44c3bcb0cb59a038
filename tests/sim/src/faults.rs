//! The faults of a run: drawn before it begins, each with its time, so that a run can be repeated without some of them.

use std::collections::BTreeSet;
use std::fmt;

use crate::dice::Dice;
use crate::swarm::{Mood, Settings};
use crate::wire::{MS, SECOND, Time};

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// SIGKILL after so many more operations of the disk, and a start after the fault has lasted.
    Kill { nodes: Vec<usize>, after: u64 },
    /// Power is gone after so many more operations of the disk; the number says what survives.
    Power { nodes: Vec<usize>, after: u64, seed: u64 },
    /// SIGSTOP, and SIGCONT.
    Pause(Vec<usize>),
    /// Two parts that do not hear each other.
    Split(BTreeSet<usize>),
    /// Nobody hears this node, which hears everybody; or the other way round.
    OneWay { node: usize, mute: bool },
    /// Two nodes do not hear each other; everybody else hears both.
    Bridge(usize, usize),
    /// Each node hears its neighbours only.
    Ring,
    /// Messages are lost, doubled, late or out of order: of a thousand each, and at most so late.
    Weather { loss: u64, doubled: u64, unordered: u64, slow: Time },
    /// A disk takes so many times longer.
    SlowDisk(usize, u64),
    /// A disk without room.
    FullDisk(usize),
    /// The next barrier fails, and a later one would not.
    FailedSync(usize),
    /// The next write fails half way.
    FailedWrite(usize),
    /// The next read fails.
    FailedRead(usize),
    /// A bit decays.
    Decay(usize),
    /// A write goes astray.
    Astray(usize),
    /// A process is killed, a bit decays that its journal wrote long ago, and it is started.
    Rot(usize),
    /// A wall clock is wrong by so many milliseconds.
    Clock(usize, i64),
    /// Devices cannot reach a node.
    Shut(usize),
    /// Leadership of all groups is handed over to a node.
    Transfer(usize),
    /// What carries the log between a node and the others stands still; all else gets through, signs of life too.
    Stuck(usize),
    /// A shard is split in half; the number says which, and which half becomes the new one.
    Halve(u64),
}

/// A fault with its time, from the beginning of the phase of faults.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub(crate) at: Time,
    pub(crate) lasts: Time,
    pub(crate) fault: Fault,
}

impl Fault {
    /// One word for histories.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Kill { .. } => "kill",
            Self::Power { .. } => "power",
            Self::Pause(_) => "pause",
            Self::Split(_) => "split",
            Self::OneWay { .. } => "one-way",
            Self::Bridge(..) => "bridge",
            Self::Ring => "ring",
            Self::Weather { .. } => "weather",
            Self::SlowDisk(..) => "slow-disk",
            Self::FullDisk(_) => "full-disk",
            Self::FailedSync(_) => "failed-sync",
            Self::FailedWrite(_) => "failed-write",
            Self::FailedRead(_) => "failed-read",
            Self::Decay(_) => "decay",
            Self::Astray(_) => "astray",
            Self::Rot(_) => "rot",
            Self::Clock(..) => "clock",
            Self::Shut(_) => "shut",
            Self::Transfer(_) => "transfer",
            Self::Stuck(_) => "stuck",
            Self::Halve(_) => "halve",
        }
    }

    /// The nodes that count as hit while it lasts.
    fn hits(&self, nodes: usize) -> Vec<usize> {
        match self {
            Self::Kill { nodes: hit, .. } | Self::Pause(hit) | Self::Power { nodes: hit, .. } => {
                hit.clone()
            }
            Self::Split(part) if part.len() * 2 <= nodes => part.iter().copied().collect(),
            Self::Split(part) => (0..nodes).filter(|node| !part.contains(node)).collect(),
            Self::OneWay { node, .. } => vec![*node],
            Self::Bridge(one, _) => vec![*one],
            Self::Ring => Vec::new(),
            Self::FullDisk(node)
            | Self::FailedSync(node)
            | Self::FailedWrite(node)
            | Self::FailedRead(node)
            | Self::Decay(node)
            | Self::Astray(node)
            | Self::Rot(node)
            | Self::Stuck(node) => vec![*node],
            Self::SlowDisk(..)
            | Self::Clock(..)
            | Self::Shut(_)
            | Self::Weather { .. }
            | Self::Transfer(_)
            | Self::Halve(_) => Vec::new(),
        }
    }

    /// Whether a node may stop by itself because of it.
    pub(crate) fn stops(&self, node: usize) -> bool {
        match self {
            Self::FullDisk(hit)
            | Self::FailedSync(hit)
            | Self::FailedWrite(hit)
            | Self::FailedRead(hit)
            | Self::Decay(hit)
            | Self::Astray(hit)
            | Self::Rot(hit) => *hit == node,
            Self::Power { nodes, .. } | Self::Kill { nodes, .. } => nodes.contains(&node),
            _ => false,
        }
    }

    /// Whether the disk may be damaged for good, so that the node never comes back.
    pub(crate) fn damages(&self) -> bool {
        matches!(self, Self::Decay(_) | Self::Astray(_) | Self::Rot(_))
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, lasts) = (self.at as f64 / 1e6, self.lasts as f64 / 1e6);
        write!(f, "at {at:.3} s for {lasts:.3} s: {:?}", self.fault)
    }
}

/// How many kinds `one` knows.
const KINDS: u64 = 20;

/// Draws a schedule: a subset of the kinds, and times for each.
pub(crate) fn draw(settings: &Settings, dice: &mut Dice) -> Vec<Planned> {
    if settings.mood == Mood::Calm {
        return Vec::new();
    }
    let kinds: Vec<u64> = (0..KINDS).filter(|_| dice.happens(350)).collect();
    let kinds = if kinds.is_empty() { vec![0, 1] } else { kinds };
    let pause = *dice.pick(&[400, 1200, 3000]) * MS;
    let mut planned: Vec<Planned> = Vec::new();
    let mut at = 0;
    let mut damaged = BTreeSet::new();
    loop {
        at += dice.within(50 * MS, pause);
        if at >= settings.faults_last {
            return planned;
        }
        let fault = one(settings, dice, *dice.clone().pick(&kinds));
        let mut lasts = dice.skewed(100 * MS, 5 * SECOND);
        if let Fault::Stuck(_) = fault {
            // Nobody notices before the timers of an election are over.
            lasts += 2 * settings.election.1.as_millis() as Time * MS;
        }
        let next = Planned { at, lasts, fault };
        if is_allowed(settings, &planned, &next, &mut damaged) {
            planned.push(next);
        }
    }
}

/// Most splits of one run.
const HALVES_MAX: u64 = 3;

/// Draws when shards are split, in some of the runs with faults. They have numbers behind all other faults, so that plans
/// from before there were splits mean what they meant.
pub(crate) fn halves(settings: &Settings, dice: &mut Dice) -> Vec<Planned> {
    if settings.mood == Mood::Calm || !dice.happens(400) {
        return Vec::new();
    }
    let count = dice.within(1, HALVES_MAX);
    let halve = |_| {
        let at = dice.below(settings.faults_last);
        Planned { at, lasts: MS, fault: Fault::Halve(dice.number()) }
    };
    (0..count).map(halve).collect()
}

/// Whether the mood permits one more.
fn is_allowed(
    settings: &Settings,
    planned: &[Planned],
    next: &Planned,
    damaged: &mut BTreeSet<usize>,
) -> bool {
    let hits = next.fault.hits(settings.nodes);
    if next.fault.damages() {
        // A disk that loses what it had made durable, and others that are behind: no promise covers that.
        if settings.mood == Mood::Anybody {
            return false;
        }
        // More than a minority of damaged disks is beyond every promise.
        damaged.extend(&hits);
        if damaged.len() > settings.minority() {
            damaged.retain(|node| !hits.contains(node));
            return false;
        }
    }
    if settings.mood == Mood::Anybody {
        return true;
    }
    // A node that was hit needs some time to come back.
    let over = |other: &Planned| other.at + other.lasts + 2 * SECOND;
    let mut hit: BTreeSet<usize> = planned
        .iter()
        .filter(|other| over(other) > next.at)
        .flat_map(|other| other.fault.hits(settings.nodes))
        .collect();
    hit.extend(hits);
    hit.extend(damaged.iter());
    hit.len() <= settings.minority()
}

fn one(settings: &Settings, dice: &mut Dice, kind: u64) -> Fault {
    let nodes = settings.nodes;
    let node = dice.index(nodes);
    match kind {
        0 | 1 => Fault::Kill { nodes: some(settings, dice), after: in_the_midst(dice) },
        2 | 3 => Fault::Power {
            nodes: some(settings, dice),
            after: in_the_midst(dice),
            seed: dice.number(),
        },
        4 => Fault::Pause(some(settings, dice)),
        5 => Fault::Split((0..nodes).filter(|_| dice.happens(500)).collect()),
        6 => Fault::Split([node].into()),
        7 => Fault::OneWay { node, mute: dice.happens(500) },
        8 if nodes > 2 && dice.happens(700) => {
            Fault::Bridge(node, (node + 1 + dice.index(nodes - 1)) % nodes)
        }
        8 => Fault::Ring,
        9 | 10 => Fault::Weather {
            loss: dice.skewed(0, 250),
            doubled: if dice.happens(500) { dice.skewed(0, 300) } else { 0 },
            unordered: if dice.happens(300) { dice.skewed(0, 300) } else { 0 },
            slow: dice.skewed(0, 300) * MS,
        },
        11 => Fault::SlowDisk(node, dice.within(5, 200)),
        12 => Fault::FullDisk(node),
        13 => match dice.below(3) {
            0 => Fault::FailedSync(node),
            1 => Fault::FailedWrite(node),
            _ => Fault::FailedRead(node),
        },
        14 if dice.happens(500) => Fault::Decay(node),
        14 => Fault::Astray(node),
        15 => Fault::Clock(node, i64::try_from(dice.below(40_000)).expect("small") - 20_000),
        16 => Fault::Shut(node),
        17 => Fault::Rot(node),
        18 => Fault::Stuck(node),
        _ => Fault::Transfer(node),
    }
}

/// After how many operations of a disk its machine or process ends: at once, or in the midst of a write.
fn in_the_midst(dice: &mut Dice) -> u64 {
    if dice.happens(500) { 0 } else { dice.within(1, 12) }
}

/// One node mostly; with no regard for a quorum sometimes several or all.
fn some(settings: &Settings, dice: &mut Dice) -> Vec<usize> {
    let most = match settings.mood {
        Mood::Anybody => settings.nodes,
        Mood::Calm | Mood::Minority => settings.minority().max(1),
    };
    let count = if dice.happens(500) { 1 } else { 1 + dice.index(most) };
    let first = dice.index(settings.nodes);
    (0..count).map(|step| (first + step) % settings.nodes).collect()
}
