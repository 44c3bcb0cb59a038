//! All checks over one history, and whether the run may count as a pass at all.

use crate::History;
use crate::checks;
use crate::history::{F, Kind, Phase};
use crate::ledger::{Attempts, Ledger, Rosters};
use crate::verdict::{Outcome, Verdict};
use std::collections::BTreeMap;

/// What most checks need of a history, gathered once.
pub struct Facts<'h> {
    pub(crate) history: &'h History,
    pub(crate) ledger: Ledger,
    pub(crate) attempts: Attempts,
    pub(crate) rosters: Rosters,
}

impl<'h> Facts<'h> {
    /// Gathers them.
    pub fn of(history: &'h History) -> Facts<'h> {
        let (ledger, attempts) = (Ledger::of(history), Attempts::of(history));
        let rosters = Rosters::of(history, &ledger, &attempts);
        Facts { history, ledger, attempts, rosters }
    }
}

/// One property of a run.
pub trait Check {
    /// Its name in verdicts, canary tables and reports.
    fn name(&self) -> &'static str;
    /// Judges a history by the facts gathered from it.
    fn judge(&self, facts: &Facts<'_>) -> Verdict;
    /// Judges a history alone.
    fn check(&self, history: &History) -> Verdict {
        self.judge(&Facts::of(history))
    }
}

/// Which of the faults of a run have to have bitten for it to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Faults {
    /// None was asked for.
    None,
    /// At least so many were installed; others may have been skipped.
    AtLeast(u64),
    /// Every fault that was tried was installed at least once, and there was one.
    Every,
}

/// What a run has to have done to count, and the bounds that it is judged by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectations {
    /// Operations that came to ok, at least.
    pub ok_min: u64,
    /// Faults that bit.
    pub faults: Faults,
    /// Checks that must have had something to judge.
    pub required: Vec<&'static str>,
    /// Nanoseconds within which a shard acknowledges again while it has a quorum; 0 does not judge it.
    pub recovery_ns: u64,
    /// Nanoseconds after which a stable change of presence has reached everybody.
    pub presence_ns: u64,
}

/// Ten seconds, within which presence and inboxes converge.
const CONVERGENCE_NS: u64 = 10_000_000_000;

impl Default for Expectations {
    fn default() -> Expectations {
        Expectations {
            ok_min: 1,
            faults: Faults::None,
            required: vec!["account", "order", "prefix"],
            recovery_ns: 0,
            presence_ns: CONVERGENCE_NS,
        }
    }
}

/// What one run comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The worst of all.
    pub outcome: Outcome,
    /// Every check by its name.
    pub checks: BTreeMap<&'static str, Verdict>,
    /// Why a run without violation does not count.
    pub doubts: Vec<String>,
    /// Operations in the history.
    pub ops: u64,
    /// Those that came to ok, of those that were asked for.
    pub ok: u64,
    /// Sends that were acknowledged.
    pub acknowledged: u64,
    /// For each fault: how often it was installed and how often skipped.
    pub faults: BTreeMap<String, (u64, u64)>,
}

impl Judgement {
    /// 0 valid, 1 violated, 2 unknown.
    pub fn exit_code(&self) -> u8 {
        match self.outcome {
            Outcome::Valid => 0,
            Outcome::Violated => 1,
            Outcome::Unknown => 2,
        }
    }

    /// How many violations there are in all.
    pub fn violations(&self) -> u64 {
        let count = |verdict: &Verdict| match verdict {
            Verdict::Violated { count, .. } => *count,
            _ => 0,
        };
        self.checks.values().map(count).sum()
    }
}

/// Judges a history by every check.
pub fn judge(history: &History, expectations: &Expectations) -> Judgement {
    let mut judgement = count(history);
    let facts = Facts::of(history);
    for check in checks::all(expectations) {
        judgement.checks.insert(check.name(), check.judge(&facts));
    }
    judgement.doubts = doubts(&judgement, expectations);
    let worst = judgement.checks.values().map(Verdict::outcome).max().unwrap_or(Outcome::Unknown);
    let floor = if judgement.doubts.is_empty() { Outcome::Valid } else { Outcome::Unknown };
    judgement.outcome = worst.max(floor);
    judgement
}

fn count(history: &History) -> Judgement {
    let mut judgement = Judgement {
        outcome: Outcome::Unknown,
        checks: BTreeMap::new(),
        doubts: Vec::new(),
        ops: history.ops.len() as u64,
        ok: 0,
        acknowledged: 0,
        faults: BTreeMap::new(),
    };
    for op in &history.ops {
        if op.kind == Kind::Ok && op.f.is_asked_for() {
            judgement.ok += 1;
            judgement.acknowledged += u64::from(matches!(op.f, F::Send { .. }));
        }
        if let F::Fault { name, phase, .. } = &op.f {
            let (installed, skipped) = judgement.faults.entry(name.clone()).or_default();
            *installed += u64::from(*phase == Phase::Installed);
            *skipped += u64::from(*phase == Phase::Skipped);
        }
    }
    judgement
}

fn doubts(judgement: &Judgement, expectations: &Expectations) -> Vec<String> {
    let mut doubts = Vec::new();
    if judgement.ok < expectations.ok_min {
        doubts.push(format!(
            "{} operations were ok and {} were expected",
            judgement.ok, expectations.ok_min
        ));
    }
    let installed: u64 = judgement.faults.values().map(|(installed, _)| installed).sum();
    match expectations.faults {
        Faults::None => {}
        Faults::AtLeast(least) if installed >= least => {}
        Faults::AtLeast(least) => {
            doubts.push(format!("{installed} faults bit and {least} were expected"))
        }
        Faults::Every => {
            let missing = judgement.faults.iter().filter(|(_, (installed, _))| *installed == 0);
            doubts.extend(missing.map(|(name, _)| format!("the fault {name} never bit")));
            if installed == 0 {
                doubts.push("no fault bit".to_owned());
            }
        }
    }
    for name in &expectations.required {
        match judgement.checks.get(name) {
            None => doubts.push(format!("there is no check {name}")),
            Some(Verdict::Valid { judged: 0 }) => {
                doubts.push(format!("{name} had nothing to judge"))
            }
            Some(_) => {}
        }
    }
    doubts
}
