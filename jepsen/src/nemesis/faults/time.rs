//! Clocks that jump, flicker and drift. Only what the node reads is turned; the machine's own clock never is.

use crate::cluster::{Cluster, Setback, now_ns};
use crate::dice::Dice;
use crate::disk::Dials;
use crate::nemesis::schedule::{Kind, Toll};
use crate::nemesis::{Fault, Installed, Scope, Skipped};

const SECOND_NS: i64 = 1_000_000_000;
/// A jump is at most an hour.
const JUMP_SECONDS_MAX: u64 = 3600;
/// How far a flickering clock is off, to both sides.
const STROBE_NS: i64 = 60 * SECOND_NS;
/// How long it stays there.
const STROBE_PERIOD_NS: i64 = SECOND_NS / 20;
/// How much too fast, or too slow, a drifting wall clock runs, millionths.
const WALL_DRIFT_PPM: i64 = 50_000;
/// The same for a monotonic clock: far beyond what any crystal does.
const MONO_DRIFT_PPM: i64 = 30_000;

/// What is wrong with the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::nemesis) enum Clock {
    /// It is ahead at once.
    Ahead,
    /// It is behind at once.
    Behind,
    /// It is a minute ahead and a minute behind in turn.
    Strobe,
    /// It runs 5 % too fast or too slow.
    Drift,
    /// The monotonic clock runs 3 % too fast.
    MonotonicDrift,
}

/// The clocks of the victims are wrong.
#[derive(Debug)]
pub(in crate::nemesis) struct WrongClock {
    name: &'static str,
    clock: Clock,
    victims: Vec<(u8, i64)>,
}

impl WrongClock {
    pub(in crate::nemesis) fn new(name: &'static str, clock: Clock) -> Self {
        Self { name, clock, victims: Vec::new() }
    }

    fn turn(&self, dice: &mut Dice, dials: &mut Dials) -> String {
        let jump = i64::try_from(10 + dice.below(JUMP_SECONDS_MAX - 9)).expect("an hour at most");
        let now = i64::try_from(now_ns()).expect("a machine does not run for centuries");
        match self.clock {
            Clock::Ahead => dials.wall_offset_ns = jump * SECOND_NS,
            Clock::Behind => dials.wall_offset_ns = -jump * SECOND_NS,
            Clock::Strobe => {
                (dials.wall_strobe_ns, dials.strobe_period_ns) = (STROBE_NS, STROBE_PERIOD_NS);
            }
            Clock::Drift => {
                let sign = if dice.chance(500) { 1 } else { -1 };
                (dials.wall_drift_ppm, dials.drift_from_ns) = (sign * WALL_DRIFT_PPM, now);
            }
            Clock::MonotonicDrift => {
                (dials.mono_drift_ppm, dials.drift_from_ns) = (MONO_DRIFT_PPM, now);
            }
        }
        match self.clock {
            Clock::Ahead => format!("{jump} s ahead"),
            Clock::Behind => format!("{jump} s behind"),
            Clock::Strobe => "60 s ahead and behind, every 50 ms".to_owned(),
            Clock::Drift => format!("{} % too fast", dials.wall_drift_ppm / 10_000),
            Clock::MonotonicDrift => {
                format!("monotonic, {} % too fast", dials.mono_drift_ppm / 10_000)
            }
        }
    }
}

impl Fault for WrongClock {
    fn kind(&self) -> Kind {
        Kind { name: self.name, toll: Toll::Nothing, leader: false }
    }

    fn install(
        &mut self,
        cluster: &mut Cluster,
        dice: &mut Dice,
        scope: &Scope,
    ) -> Result<Installed, Skipped> {
        let mut detail = Vec::new();
        self.victims.clear();
        for victim in &scope.victims {
            let shim = cluster.node(*victim).shim()?;
            let drifts = matches!(self.clock, Clock::Drift | Clock::MonotonicDrift);
            if drifts && shim.dials()?.drift_from_ns != 0 {
                return Err(Skipped::new("its clock drifts already"));
            }
            self.victims.push((*victim, shim.tallies()?.clock_reads));
            let mut what = String::new();
            shim.change(|dials| what = self.turn(dice, dials))?;
            detail.push(format!("n{victim} {what}"));
        }
        Ok(Installed::new(detail.join(", ")))
    }

    fn verify(&mut self, cluster: &mut Cluster) -> Result<String, String> {
        let mut reads = 0;
        for (victim, before) in &self.victims {
            let tallies = cluster.node(*victim).shim().and_then(|shim| shim.tallies());
            reads += tallies.map_err(|error| error.to_string())?.clock_reads - before;
        }
        if reads > 0 {
            Ok(format!("read {reads} times"))
        } else {
            Err("nobody read the clock".to_owned())
        }
    }

    fn heal(&mut self, cluster: &mut Cluster) -> Result<(), Setback> {
        for (victim, _) in std::mem::take(&mut self.victims) {
            let shim = cluster.node(victim).shim()?;
            match self.clock {
                Clock::Ahead | Clock::Behind => shim.change(|dials| dials.wall_offset_ns = 0)?,
                Clock::Strobe => shim.change(|dials| {
                    (dials.wall_strobe_ns, dials.strobe_period_ns) = (0, 0);
                })?,
                Clock::Drift => shim.change(|dials| {
                    (dials.wall_drift_ppm, dials.drift_from_ns) = (0, 0);
                })?,
                Clock::MonotonicDrift => shim.stop_drift()?,
            }
        }
        Ok(())
    }
}
