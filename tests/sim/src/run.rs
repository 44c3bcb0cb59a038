//! One run from its plan to its verdict, on a thread of its own.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::mpsc;
use std::time::Duration;

use checkers::{Expectations, Faults, Outcome, judge};

use crate::panics;
use crate::swarm::{Plan, Settings};
use crate::world::World;

/// A run that takes longer has a task that never rests.
const REAL_TIME_MAX: Duration = Duration::from_secs(180);
/// Whoever left is offline by then: 5 s after the last sign of life, plus 1 s, and the way of the last sign.
const PRESENCE_NS: u64 = 7_000_000_000;
/// A thread's stack: runtimes of five nodes live on it.
const STACK_BYTES: usize = 16 << 20;

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was run.
    pub plan: Plan,
    /// What it drew, in one line.
    pub drawn: String,
    /// Same plan, same hash.
    pub hash: u64,
    /// Virtual milliseconds.
    pub virtual_ms: u64,
    /// Messages on the wire.
    pub messages: u64,
    /// Operations that were judged.
    pub operations: u64,
    /// Sends that were acknowledged.
    pub acknowledged: u64,
    /// Faults that bit.
    pub faults: u64,
    /// Everything that must not be.
    pub broken: Vec<String>,
    /// Why the run does not count, if it does not.
    pub doubts: Vec<String>,
    /// What else is worth knowing.
    pub notes: Vec<String>,
}

impl Report {
    /// Whether a promise was broken.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        !self.broken.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match (self.is_broken(), self.doubts.is_empty()) {
            (true, _) => "VIOLATED",
            (false, true) => "valid",
            (false, false) => "unknown",
        };
        writeln!(
            f,
            "seed {}: {verdict}; {} ms, {} messages, {} operations, {} acknowledged, {} faults, trace {:016x}",
            self.plan.seed,
            self.virtual_ms,
            self.messages,
            self.operations,
            self.acknowledged,
            self.faults,
            self.hash
        )?;
        writeln!(f, "  {}", self.drawn)?;
        for (what, lines) in
            [("broken", &self.broken), ("doubt", &self.doubts), ("note", &self.notes)]
        {
            for line in lines.iter().take(12) {
                writeln!(f, "  {what}: {line}")?;
            }
        }
        Ok(())
    }
}

/// Runs a plan. Prints each event when `traced`.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "one run, one fresh thread: see chance.rs")]
pub fn run(plan: &Plan, traced: bool) -> Report {
    let (tell, told) = mpsc::channel();
    let own = plan.clone();
    let thread =
        std::thread::Builder::new().name(format!("seed-{}", plan.seed)).stack_size(STACK_BYTES);
    let spawned = thread.spawn(move || {
        panics::watch();
        let result = std::panic::catch_unwind(|| run_here(&own, traced));
        let _ = tell.send(result.map_err(|_| panics::take()));
    });
    spawned.expect("a thread for a run");
    let failed = |what: String| Report {
        plan: plan.clone(),
        drawn: drawn(&Settings::of(plan)),
        hash: 0,
        virtual_ms: 0,
        messages: 0,
        operations: 0,
        acknowledged: 0,
        faults: 0,
        broken: vec![what],
        doubts: Vec::new(),
        notes: Vec::new(),
    };
    match told.recv_timeout(REAL_TIME_MAX) {
        Ok(Ok(report)) => report,
        Ok(Err(panics)) => failed(format!("the simulator panicked: {panics:?}")),
        Err(_) => failed(format!("no end within {} s of real time", REAL_TIME_MAX.as_secs())),
    }
}

fn run_here(plan: &Plan, traced: bool) -> Report {
    let mut world = World::new(plan, traced);
    world.run();
    let World { wire, book, settings, mut notes, bitten, servers, .. } = world;
    drop(servers);
    let (hash, messages, virtual_ms) = {
        let inner = wire.0.lock();
        (inner.trace.hash(), inner.messages, inner.now / 1000)
    };
    let mut broken = book.broken.clone();
    let acknowledged = book.acknowledged;
    if book.floors_fell > 0 {
        notes
            .push(format!("{} times a sender was told lower floors than before", book.floors_fell));
    }
    let history = book.finish();
    if let Ok(path) = std::env::var("SIM_HISTORY") {
        dump(&path, &history);
    }
    let expectations = Expectations {
        ok_min: 1,
        faults: if settings.faults.is_empty() { Faults::None } else { Faults::AtLeast(1) },
        required: vec!["account", "order", "prefix"],
        recovery_ns: 0,
        presence_ns: PRESENCE_NS,
    };
    let judgement = judge(&history, &expectations);
    for (name, verdict) in &judgement.checks {
        for violation in verdict.violations().iter().take(4) {
            broken.push(format!(
                "{name}: {} ops {:?} seqs {:?}",
                violation.what, violation.ops, violation.seqs
            ));
        }
    }
    let doubts =
        if judgement.outcome == Outcome::Unknown { judgement.doubts.clone() } else { Vec::new() };
    Report {
        plan: plan.clone(),
        drawn: drawn(&settings),
        hash,
        virtual_ms,
        messages,
        operations: judgement.ops,
        acknowledged,
        faults: bitten,
        broken,
        doubts,
        notes,
    }
}

fn dump(path: &str, history: &checkers::History) {
    let write = || -> Result<(), String> {
        let file = std::fs::File::create(path).map_err(|error| error.to_string())?;
        let mut file = std::io::BufWriter::new(file);
        for op in &history.ops {
            checkers::write_op(&mut file, &history.names, op).map_err(|error| error.to_string())?;
        }
        Ok(())
    };
    if let Err(error) = write() {
        eprintln!("the history could not be written to {path}: {error}");
    }
}

fn drawn(settings: &Settings) -> String {
    let mut kinds: BTreeMap<&str, u32> = BTreeMap::new();
    for planned in &settings.faults {
        *kinds.entry(planned.fault.name()).or_default() += 1;
    }
    format!(
        "{} nodes, {} shards, {:?}, {} users, {} devices, {} groups, faults {kinds:?}",
        settings.nodes,
        settings.shards,
        settings.mood,
        settings.users,
        settings.devices,
        settings.groups
    )
}

/// The faults of a plan, one a line, with their numbers.
#[must_use]
pub fn faults(plan: &Plan) -> Vec<String> {
    let whole = Plan { without: Default::default(), ..plan.clone() };
    let all = Settings::of(&whole).faults;
    all.iter().enumerate().map(|(number, planned)| format!("{number}: {planned}")).collect()
}
