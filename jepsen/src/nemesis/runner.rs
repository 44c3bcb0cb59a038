//! Carries out a schedule against a cluster and tells what became of every fault.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::cluster::{Cluster, Setback, now_ns, rest, within};
use crate::dice::Dice;

use super::schedule::{Act, Mode, Schedule, Terms, Victims};
use super::{Fault, Scope};

/// A fault is looked at so long after it was installed before the schedule goes on; it is looked at again before it heals.
const BITES_WITHIN: Duration = Duration::from_secs(2);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// After a period every node serves again within this, or it is told that it does not.
const SETTLES_WITHIN: Duration = Duration::from_secs(45);
/// How long the nemesis rests at most before it hears that it should stop.
const NAP: Duration = Duration::from_millis(100);

/// What became of a fault, for the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It is being installed.
    Install,
    /// It is in place and was seen to bite.
    Installed,
    /// It was in place, but nobody saw it bite.
    Indeterminate,
    /// It is not in place.
    Skipped,
    /// It is being taken away.
    Heal,
    /// It is gone.
    Healed,
}

/// One line of what the nemesis did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deed {
    /// Nanoseconds of the machine's monotonic clock.
    pub at_ns: u64,
    /// The fault; `settle` for the wait between periods, `heal-all` for the end, `end` for a process that ended by itself.
    pub fault: &'static str,
    /// How far it is.
    pub phase: Phase,
    /// Whom, how much, why not.
    pub detail: String,
}

/// How often each fault got how far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sum {
    /// By fault and phase.
    pub counts: BTreeMap<(&'static str, Phase), u32>,
}

impl Sum {
    /// Faults of all kinds that were seen to bite.
    #[must_use]
    pub fn bitten(&self) -> u32 {
        self.counts
            .iter()
            .filter(|((_, phase), _)| *phase == Phase::Installed)
            .map(|(_, n)| n)
            .sum()
    }
}

/// A schedule with the faults that it speaks of.
pub struct Nemesis {
    faults: Vec<Box<dyn Fault>>,
    schedule: Schedule,
    /// Of the faults in place: what was done, and whether it was seen to bite.
    active: BTreeMap<usize, (String, bool)>,
    sum: Sum,
}

impl Nemesis {
    /// Draws the schedule of a seed.
    #[must_use]
    pub fn schedule(seed: u64, faults: Vec<Box<dyn Fault>>, mode: Mode, terms: &Terms) -> Self {
        let kinds: Vec<_> = faults.iter().map(|fault| fault.kind()).collect();
        let schedule = Schedule::draw(seed, &kinds, mode, terms);
        Self { faults, schedule, active: BTreeMap::new(), sum: Sum::default() }
    }

    /// What will be done when.
    #[must_use]
    pub fn steps(&self) -> &Schedule {
        &self.schedule
    }

    /// Carries it out, until its end or until `stop`; then heals everything and looks whether everything is healed.
    /// Faults that could not be installed, and nodes that end by themselves, are told and do not stop it.
    ///
    /// # Errors
    /// When something could not be healed.
    pub fn run(
        mut self,
        cluster: &mut Cluster,
        stop: &AtomicBool,
        tell: &mut dyn FnMut(Deed),
    ) -> Result<Sum, Setback> {
        let begin = now_ns();
        let mut late = Duration::ZERO;
        for (at, act) in std::mem::take(&mut self.schedule.steps) {
            while Duration::from_nanos(now_ns() - begin) < at + late
                && !stop.load(Ordering::Relaxed)
            {
                rest(NAP);
            }
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let before = now_ns();
            self.carry_out(act, cluster, tell)?;
            // What took long moves all that follows: a period is never cut short.
            late += Duration::from_nanos(now_ns() - before).saturating_sub(BITES_WITHIN);
        }
        self.end(cluster, tell)
    }

    fn carry_out(
        &mut self,
        act: Act,
        cluster: &mut Cluster,
        tell: &mut dyn FnMut(Deed),
    ) -> Result<(), Setback> {
        match act {
            Act::Settle => self.settle(cluster, tell),
            Act::Install { fault, victims, seed } => {
                self.install(fault, &victims, seed, cluster, tell);
            }
            Act::Heal { fault } => self.heal(fault, cluster, tell)?,
        }
        for end in cluster.notice_ends() {
            let detail = format!("n{} ended by itself, {}: {}", end.node, end.status, end.last);
            self.tell(tell, "end", Phase::Installed, detail);
        }
        Ok(())
    }

    fn tell(
        &mut self,
        tell: &mut dyn FnMut(Deed),
        fault: &'static str,
        phase: Phase,
        detail: String,
    ) {
        if !matches!(fault, "end" | "settle" | "heal-all") {
            *self.sum.counts.entry((fault, phase)).or_default() += 1;
        }
        tell(Deed { at_ns: now_ns(), fault, phase, detail });
    }

    fn settle(&mut self, cluster: &mut Cluster, tell: &mut dyn FnMut(Deed)) {
        if !self.active.is_empty() {
            return;
        }
        if let Err(error) = cluster.wait_ready(SETTLES_WITHIN) {
            self.tell(tell, "settle", Phase::Indeterminate, error.to_string());
        }
    }

    fn install(
        &mut self,
        number: usize,
        victims: &Victims,
        seed: u64,
        cluster: &mut Cluster,
        tell: &mut dyn FnMut(Deed),
    ) {
        let name = self.faults[number].kind().name;
        let scope = Scope { victims: aim(victims, cluster) };
        self.tell(tell, name, Phase::Install, format!("{:?}", scope.victims));
        let fault = &mut self.faults[number];
        match fault.install(cluster, &mut Dice::new(seed, 1), &scope) {
            Err(skipped) => self.tell(tell, name, Phase::Skipped, skipped.reason),
            Ok(installed) => {
                let seen = within(BITES_WITHIN, LOOK, || fault.verify(cluster).ok());
                if let Some(seen) = &seen {
                    let detail = format!("{}: {seen}", installed.detail);
                    self.tell(tell, name, Phase::Installed, detail);
                }
                self.active.insert(number, (installed.detail, seen.is_some()));
            }
        }
    }

    fn heal(
        &mut self,
        number: usize,
        cluster: &mut Cluster,
        tell: &mut dyn FnMut(Deed),
    ) -> Result<(), Setback> {
        let Some((detail, seen)) = self.active.remove(&number) else { return Ok(()) };
        let fault = &mut self.faults[number];
        let name = fault.kind().name;
        if !seen {
            let (phase, why) = match fault.verify(cluster) {
                Ok(seen) => (Phase::Installed, seen),
                Err(why) => (Phase::Indeterminate, why),
            };
            self.tell(tell, name, phase, format!("{detail}: {why}"));
        }
        self.tell(tell, name, Phase::Heal, String::new());
        self.faults[number].heal(cluster).map_err(|error| error.while_doing(name))?;
        self.tell(tell, name, Phase::Healed, String::new());
        Ok(())
    }

    fn end(mut self, cluster: &mut Cluster, tell: &mut dyn FnMut(Deed)) -> Result<Sum, Setback> {
        let active: Vec<usize> = self.active.keys().copied().collect();
        for number in active {
            self.heal(number, cluster, tell)?;
        }
        self.tell(tell, "heal-all", Phase::Heal, String::new());
        cluster.heal()?;
        self.tell(tell, "heal-all", Phase::Healed, String::new());
        Ok(self.sum)
    }
}

/// The nodes that are meant, the leader found out.
fn aim(victims: &Victims, cluster: &Cluster) -> Vec<u8> {
    let mut nodes = victims.nodes.clone();
    if victims.leader
        && let Some(leader) = cluster.busiest()
    {
        match nodes.iter().position(|node| *node == leader) {
            Some(place) => nodes.swap(0, place),
            None => nodes[0] = leader,
        }
    }
    nodes
}
