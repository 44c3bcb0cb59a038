//! Many seeds, several at once, and the line of the ledger that says what they came to.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::canaries::shows;
use crate::run::{Report, run};
use crate::swarm::Plan;

/// One of so many seeds is run twice, and both runs must leave the same trace.
const TWICE: u64 = 20;

/// Which seeds.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// The first.
    pub from: u64,
    /// How many.
    pub count: u64,
    /// Runs at once.
    pub jobs: usize,
    /// Plans that are run before: whatever was found once.
    pub kept: Vec<Plan>,
    /// Ends with the first violation, or with the first that is looked for.
    pub fail_fast: bool,
    /// Signs of the violation that is looked for; none: any.
    pub signs: Vec<String>,
}

impl Sweep {
    /// Whether this run is one that was looked for.
    #[must_use]
    pub fn finds(&self, report: &Report) -> bool {
        report.is_broken() && (self.signs.is_empty() || shows(report, &self.signs))
    }
}

/// What a sweep came to.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Runs, without second ones.
    pub seeds: u64,
    /// Of these with faults.
    pub faulty: u64,
    /// Faults that bit.
    pub faults: u64,
    /// Operations that were judged.
    pub operations: u64,
    /// Sends that were acknowledged.
    pub acknowledged: u64,
    /// Virtual seconds.
    pub virtual_s: u64,
    /// Runs that were repeated, all of them the same.
    pub repeated: u64,
    /// Runs that do not count.
    pub unknown: u64,
    /// Runs with violations, by seed.
    pub broken: BTreeMap<u64, Report>,
}

impl Ledger {
    fn add(&mut self, report: Report) {
        self.seeds += 1;
        self.faulty += u64::from(report.faults > 0);
        self.faults += report.faults;
        self.operations += report.operations;
        self.acknowledged += report.acknowledged;
        self.virtual_s += report.virtual_ms / 1000;
        self.unknown += u64::from(!report.doubts.is_empty());
        if report.is_broken() {
            self.broken.insert(report.plan.seed, report);
        }
    }

    /// The line for the ledger.
    #[must_use]
    pub fn line(&self, commit: &str, from: u64) -> String {
        let verdict = if self.broken.is_empty() {
            "no violation".to_owned()
        } else {
            format!("violations: {:?}", self.broken.keys().collect::<Vec<_>>())
        };
        format!(
            "| {commit} | {from}+{} | {} | {} | {} | {} | {} | {} | {} | {verdict} |",
            self.seeds,
            self.faulty,
            self.faults,
            self.operations,
            self.acknowledged,
            self.virtual_s,
            self.repeated,
            self.unknown
        )
    }
}

/// Runs a sweep; `tell` hears of each run as it ends.
pub fn sweep(what: &Sweep, tell: &(dyn Fn(&Report) + Sync)) -> Ledger {
    let ledger = Mutex::new(Ledger::default());
    let next = AtomicU64::new(0);
    let total = what.count + what.kept.len() as u64;
    std::thread::scope(|scope| {
        for _ in 0..what.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= total {
                        return;
                    }
                    let plan = match what.kept.get(usize::try_from(number).unwrap_or(usize::MAX)) {
                        Some(kept) => kept.clone(),
                        None => Plan {
                            seed: what.from + number - what.kept.len() as u64,
                            ..Plan::default()
                        },
                    };
                    let report = checked(&plan, &ledger);
                    tell(&report);
                    let stop = what.fail_fast && what.finds(&report);
                    lock(&ledger).add(report);
                    if stop {
                        next.store(total, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    ledger.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn lock(ledger: &Mutex<Ledger>) -> std::sync::MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

fn checked(plan: &Plan, ledger: &Mutex<Ledger>) -> Report {
    let mut report = run(plan, false);
    if plan.seed.is_multiple_of(TWICE) {
        let again = run(plan, false);
        if again.hash == report.hash {
            lock(ledger).repeated += 1;
        } else {
            let what =
                format!("not deterministic: traces {:016x} and {:016x}", report.hash, again.hash);
            report.broken.push(what);
        }
    }
    report
}
