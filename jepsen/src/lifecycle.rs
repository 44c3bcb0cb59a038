//! The life of a cluster under load, as an operator leads it: it grows, hands leaderships over, drains, loses a node and its
//! disk, shrinks, restarts node by node, and is killed again and again, while clients send at half of what it can take.
//!
//! What is measured of each step: sends that failed, the time of an acknowledgement before and during it, the longest of
//! them. At the end every conversation is read back from every node. Needs no root; everything is a verb of `synod`.

mod load;
mod site;
mod steps;

use std::fmt;
use std::path::Path;
use std::time::Duration;

use load::Load;
use site::Cluster;

/// How much longer an acknowledgement may take at its 99th percentile while something changes.
pub const SLOWER_MAX: f64 = 5.0;
/// The longest that sends may stall when a node is killed, milliseconds.
pub const STALL_MS_MAX: u64 = 1000;
/// The longest that sends may stall when an operator hands a shard over, milliseconds.
pub const HANDOVER_MS_MAX: u64 = 200;
/// The part of the cluster's capacity that clients ask for.
const PART: f64 = 0.5;
/// How long the capacity is measured.
const CAPACITY_SECONDS: u64 = 5;

/// What to do.
#[derive(Debug, Clone)]
pub struct Lifecycle<'a> {
    /// The binary `synod`.
    pub synod: &'a Path,
    /// How long each step is compared with what was before it, seconds.
    pub seconds: u64,
    /// Nodes that are killed, one after the other.
    pub kills: u32,
    /// Times that an operator hands a shard over.
    pub handovers: u32,
    /// Nothing else happens to the cluster.
    pub only_handovers: bool,
    /// Messages a second; measured when not said.
    pub rate: Option<f64>,
    /// First port of the first node.
    pub port_base: u16,
}

/// One step and what clients saw of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What was done.
    pub name: String,
    /// How long it took until nothing moved any more.
    pub took: Duration,
    /// Messages acknowledged meanwhile.
    pub acknowledged: usize,
    /// 99th percentile of an acknowledgement in the time before, milliseconds.
    pub before_ms: f64,
    /// The longest in the time before, milliseconds.
    pub before_longest_ms: u64,
    /// 99th percentile while it was done, milliseconds.
    pub during_ms: f64,
    /// The longest while it was done, milliseconds.
    pub longest_ms: u64,
    /// What it may cost.
    pub kind: Kind,
}

/// What a step may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Acknowledgements may take somewhat longer.
    Change,
    /// A node was killed: sends may stall while it is noticed.
    Kill,
    /// A leadership was handed over: sends may stall for a moment.
    Handover,
}

impl Step {
    /// Whether it stayed within what it may cost.
    #[must_use]
    pub fn holds(&self) -> bool {
        match self.kind {
            Kind::Kill => self.longest_ms <= STALL_MS_MAX,
            Kind::Handover => self.longest_ms <= HANDOVER_MS_MAX,
            Kind::Change => self.during_ms <= SLOWER_MAX * self.before_ms,
        }
    }
}

/// What it came to.
#[derive(Debug, Clone, Default)]
pub struct Tale {
    /// Messages a second that were asked for.
    pub rate: f64,
    /// Each step in order.
    pub steps: Vec<Step>,
    /// Messages that were acknowledged.
    pub acknowledged: usize,
    /// Sends that came back with an error.
    pub failed: usize,
    /// Differences between what was acknowledged and what a node has, at most a few, in words.
    pub differences: Vec<String>,
    /// Messages read back, over all nodes.
    pub read_back: usize,
}

impl Tale {
    /// 0: everything holds. 1: something was lost, failed or took too long.
    #[must_use]
    pub fn code(&self) -> u8 {
        let kept = self.failed == 0 && self.differences.is_empty() && self.read_back > 0;
        let stalls = self.stalls(Kind::Kill, 99) > STALL_MS_MAX
            || self.stalls(Kind::Handover, 99) > HANDOVER_MS_MAX;
        u8::from(!kept || stalls || !self.of(Kind::Change).all(Step::holds))
    }

    fn of(&self, kind: Kind) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(move |step| step.kind == kind)
    }

    /// This percentile of the stalls of such steps, milliseconds: the 99th of fewer than a hundred is the longest.
    #[must_use]
    pub fn stalls(&self, kind: Kind, percentile: usize) -> u64 {
        let mut stalls: Vec<u64> = self.of(kind).map(|step| step.longest_ms).collect();
        stalls.sort_unstable();
        let place = (stalls.len() * percentile).div_ceil(100);
        stalls.get(place.saturating_sub(1)).copied().unwrap_or_default()
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Step { name, took, acknowledged, before_ms, during_ms, .. } = self;
        let (calm, longest) = (self.before_longest_ms, self.longest_ms);
        let mark = if self.holds() { "" } else { "  TOO LONG" };
        write!(
            f,
            "{name:<34} {:>6.1} s  {acknowledged:>7} acked  p99 {before_ms:>6.1} -> {during_ms:>6.1} ms  \
             longest {calm:>4} -> {longest:>5} ms{mark}",
            took.as_secs_f64()
        )
    }
}

impl fmt::Display for Tale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kills, handovers) = (self.of(Kind::Kill).count(), self.of(Kind::Handover).count());
        writeln!(
            f,
            "{:.0} messages a second; {} acknowledged, {} failed; {} read back, {} differences",
            self.rate,
            self.acknowledged,
            self.failed,
            self.read_back,
            self.differences.len()
        )?;
        for difference in &self.differences {
            writeln!(f, "  {difference}")?;
        }
        writeln!(
            f,
            "{handovers} handovers, stall p50 {} ms, p99 {} ms",
            self.stalls(Kind::Handover, 50),
            self.stalls(Kind::Handover, 99)
        )?;
        write!(f, "{kills} kills, stall p99 {} ms", self.stalls(Kind::Kill, 99))
    }
}

impl Lifecycle<'_> {
    /// Lives it; `tell` hears of every step.
    ///
    /// # Errors
    /// When the cluster does not do what it is told, in words.
    pub fn run(&self, mut tell: impl FnMut(&str)) -> Result<Tale, String> {
        let mut cluster = Cluster::form(self.synod, self.port_base)?;
        let rate = match self.rate {
            Some(rate) => rate,
            None => PART * cluster.capacity(CAPACITY_SECONDS)?,
        };
        tell(&format!("three nodes; clients ask for {rate:.0} messages a second"));
        let load = Load::begin(cluster.all_addresses(), cluster.authority()?, rate)?;
        let mut tale = Tale { rate, ..Tale::default() };
        let ran = steps::run(self, &mut cluster, &load, |step| {
            tell(&step.to_string());
            tale.steps.push(step);
        });
        let said = load.end();
        ran?;
        (tale.acknowledged, tale.failed) = (said.acknowledged(), said.failed());
        (tale.read_back, tale.differences) = said.read_back(&cluster)?;
        Ok(tale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(kind: Kind, before_ms: f64, during_ms: f64, longest_ms: u64) -> Step {
        let (name, took) = ("step".to_owned(), Duration::from_secs(1));
        let before_longest_ms = 0;
        Step {
            name,
            took,
            acknowledged: 1,
            before_ms,
            before_longest_ms,
            during_ms,
            longest_ms,
            kind,
        }
    }

    fn good() -> Tale {
        let steps = vec![step(Kind::Change, 10.0, 49.0, 2000), step(Kind::Kill, 10.0, 900.0, 990)];
        Tale { rate: 1.0, steps, acknowledged: 5, read_back: 15, ..Tale::default() }
    }

    #[test]
    fn a_tale_holds_only_when_nothing_failed_differed_or_took_too_long() {
        assert_eq!(good().code(), 0);
        assert_eq!(Tale { failed: 1, ..good() }.code(), 1);
        assert_eq!(Tale { differences: vec!["one".to_owned()], ..good() }.code(), 1);
        assert_eq!(
            Tale { read_back: 0, ..good() }.code(),
            1,
            "who reads nothing has shown nothing"
        );
        let slow = vec![step(Kind::Change, 10.0, 51.0, 60)];
        assert_eq!(Tale { steps: slow, ..good() }.code(), 1);
        let stalled = vec![step(Kind::Kill, 10.0, 10.0, 1001)];
        assert_eq!(Tale { steps: stalled, ..good() }.code(), 1);
        let held = vec![step(Kind::Handover, 10.0, 190.0, 200)];
        assert_eq!(Tale { steps: held, ..good() }.code(), 0);
        let held = vec![step(Kind::Handover, 10.0, 10.0, 201)];
        assert_eq!(Tale { steps: held, ..good() }.code(), 1);
    }

    #[test]
    fn one_long_stall_in_a_hundred_is_beyond_the_percentile_and_one_in_ten_is_not() {
        let of = |kills: usize| {
            let mut steps = vec![step(Kind::Kill, 1.0, 1.0, 300); kills - 1];
            steps.push(step(Kind::Kill, 1.0, 1.0, 5000));
            Tale { steps, ..good() }.stalls(Kind::Kill, 99)
        };
        assert_eq!((of(10), of(100)), (5000, 300));
    }
}
