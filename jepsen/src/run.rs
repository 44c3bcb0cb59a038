//! One run: raise, quiet, break, heal, drain, read everything back, stop, judge, write it all down. What is broken and how
//! is the nemesis' affair, what was kept the checkers'; this file only goes through the phases.

mod crew;
mod facts;
mod witness;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use checkers::{F, History, Judgement, Kind, Outcome};
use serde_json::json;
use thiserror::Error;

use crate::clients::{ClientsPlan, Order, Report};
use crate::cluster::{Cluster, DiskKind, Plan, rest};
use crate::ledger::Line;
use crate::nemesis::{self, Deed, Fault, Mode, Nemesis, Terms, Toll};
use crate::page;
use crate::pairs;
use crate::record::{Tape, now_ns};
use crate::scenario::Scenario;
use crate::verdict;
use crew::Crew;
use witness::Witness;

/// Everybody has signed in within this.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// What is under way ends within its patience and this.
const STOP_WITHIN: Duration = Duration::from_secs(60);
/// Reading back takes this much longer than its deadline at most.
const READ_GRACE: Duration = Duration::from_secs(60);
/// The work goes on so long after everything is whole again.
const AFTER_HEALING: Duration = Duration::from_secs(5);
/// Logical processes of the harness itself, apart from those of the clients.
const OWN_PROCESSES: u32 = 1 << 30;

/// What to run.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// What happens.
    pub scenario: Scenario,
    /// What repeats it.
    pub seed: u64,
    /// The binary to break.
    pub synod: PathBuf,
    /// Where folders of runs go.
    pub runs: PathBuf,
    /// The project, for the commit that the ledger names.
    pub project: PathBuf,
    /// Whether the history of a run that held is kept too.
    pub keep: bool,
}

/// Why there is no verdict.
#[derive(Debug, Error)]
pub enum Failure {
    /// This machine cannot do it. Unknown, never a pass.
    #[error("not possible here: {0}")]
    Unable(String),
    /// The harness failed.
    #[error("the harness failed: {0}")]
    Harness(String),
}

/// A run that ended with a verdict.
#[derive(Debug)]
pub struct Finished {
    /// Its folder.
    pub folder: PathBuf,
    /// The verdict.
    pub outcome: Outcome,
    /// For people.
    pub text: String,
    /// For the ledger.
    pub line: Line,
}

/// Runs it.
///
/// # Errors
/// [`Failure`].
pub fn run(
    assignment: &Assignment,
    stop: &Arc<AtomicBool>,
    tell: &mut dyn FnMut(&str),
) -> Result<Finished, Failure> {
    if !nemesis::is_root() {
        return Err(Failure::Unable("namespaces and disks need root".to_owned()));
    }
    let began = now_ns();
    let run_id = format!("{:08x}", (began ^ assignment.seed.rotate_left(40)) as u32);
    let name = format!("{}-{}-{run_id}", assignment.scenario.name, assignment.seed);
    let folder = std::path::absolute(assignment.runs.join(name)).map_err(harness)?;
    std::fs::create_dir_all(&folder).map_err(harness)?;
    let facts = facts::gather(assignment);
    write(&folder, "options.toml", &facts::options(assignment, &facts))?;
    let scene = Scene { assignment, folder: &folder, stop };
    let (history, after) = scene.play(&run_id, tell)?;
    let mut finished = scene.judge(&history, &after)?;
    finished.line.commit = facts.commit;
    finished.line.binary = facts.binary;
    finished.line.at = facts::wall_seconds();
    finished.line.seconds = (now_ns() - began) / 1_000_000_000;
    if !assignment.keep && finished.outcome == Outcome::Valid {
        // What held is told by its verdict and can be had again from its options.
        let _ = std::fs::remove_file(folder.join("history.jsonl"));
    }
    Ok(finished)
}

/// What was found besides the history.
#[derive(Debug, Default)]
struct Aftermath {
    /// What could not be read back.
    missing: Vec<String>,
    /// What did not come back by itself, or ended without a reason.
    stuck: Vec<String>,
    /// Nodes that ended by themselves, with their last words.
    ends: Vec<String>,
    /// How long nodes were being broken.
    fault_ns: u64,
}

struct Scene<'a> {
    assignment: &'a Assignment,
    folder: &'a Path,
    stop: &'a Arc<AtomicBool>,
}

impl Scene<'_> {
    fn play(
        &self,
        run_id: &str,
        tell: &mut dyn FnMut(&str),
    ) -> Result<(History, Aftermath), Failure> {
        let scenario = &self.assignment.scenario;
        tell(&format!("{} seed {}: raising", scenario.name, self.assignment.seed));
        let mut cluster = Cluster::raise(&self.plan(run_id)).map_err(unable)?;
        let played = self.phases(&mut cluster, tell);
        for node in cluster.all() {
            // A node that never wrote a word has no log.
            let _ = std::fs::copy(cluster.logs(node), self.folder.join(format!("n{node}.log")));
        }
        let home = cluster.home().to_owned();
        cluster.teardown();
        // What a run leaves is in its own folder; the cluster's is only for as long as it stands.
        let _ = std::fs::remove_dir_all(home);
        played
    }

    fn plan(&self, run_id: &str) -> Plan {
        let shape = &self.assignment.scenario.cluster;
        let mut plan = Plan::new(&self.assignment.synod, run_id);
        plan.nodes = shape.nodes;
        plan.shards = shape.shards;
        plan.replication = if shape.replication > 0 { shape.replication } else { shape.nodes };
        plan.more.clone_from(&shape.more);
        if shape.segment_bytes > 0 {
            plan.segment_bytes = shape.segment_bytes;
        }
        plan.disk = match shape.disk.as_str() {
            "folder" => DiskKind::Folder,
            _ => DiskKind::LoopExt4 { mib: shape.disk_mib },
        };
        plan
    }

    fn clients_plan(&self, cluster: &Cluster) -> Result<ClientsPlan, Failure> {
        let ca = self.folder.join("ca.pem");
        std::fs::write(&ca, cluster.ca_pem()).map_err(harness)?;
        let scenario = &self.assignment.scenario;
        Ok(ClientsPlan {
            nodes: cluster.all().into_iter().map(|node| cluster.client_addr(node)).collect(),
            ca,
            seed: self.assignment.seed,
            workload: scenario.workload.clone(),
            history: self.folder.join("clients.jsonl"),
            shards: scenario.cluster.shards,
            drain_seconds: scenario.drain_seconds,
        })
    }

    fn phases(
        &self,
        cluster: &mut Cluster,
        tell: &mut dyn FnMut(&str),
    ) -> Result<(History, Aftermath), Failure> {
        let scenario = &self.assignment.scenario;
        let tape = Arc::new(Tape::new(OWN_PROCESSES));
        let plan = self.clients_plan(cluster)?;
        let mut crew = Crew::start(cluster, &plan, self.folder).map_err(harness)?;
        self.expect(&mut crew, &Report::Ready, READY_WITHIN)?;
        let witness = Witness::start(cluster.eyes(), Arc::clone(&tape));
        rest(Duration::from_secs(scenario.quiet_seconds));
        let mut after = Aftermath::default();
        crew.tell(Order::Faults).map_err(harness)?;
        tell("  breaking");
        let broken_at = now_ns();
        let harm = self.harm(cluster, &tape, tell);
        after.fault_ns = now_ns() - broken_at;
        if let Err(why) = harm {
            after.stuck.push(why);
        }
        tell("  healing");
        if let Err(setback) = cluster.heal() {
            after.stuck.push(setback.to_string());
        }
        crew.tell(Order::Healed).map_err(harness)?;
        rest(AFTER_HEALING);
        crew.tell(Order::Stop).map_err(harness)?;
        let patience = Duration::from_secs(scenario.workload.patience_seconds) + STOP_WITHIN;
        self.expect(&mut crew, &Report::Stopped, patience)?;
        tell("  reading back");
        let patience = Duration::from_secs(scenario.drain_seconds) * 2 + READ_GRACE;
        match crew.hear(patience).map_err(harness)? {
            Report::Done(missing) => after.missing = missing,
            other => return Err(Failure::Harness(format!("{other:?} instead of a history"))),
        }
        witness.stop();
        cluster.notice_ends();
        after.ends = cluster
            .ends()
            .iter()
            .map(|end| format!("n{} ended with {}: {}", end.node, end.status, end.last))
            .collect();
        let mut history = verdict::load(&plan.history).map_err(Failure::Harness)?;
        // Its lines stand in the whole history.
        let _ = std::fs::remove_file(&plan.history);
        let own = Arc::try_unwrap(tape).map(Tape::into_history);
        history.merge(own.map_err(|_| harness("the tape is still in use"))?);
        verdict::store(&history, &self.folder.join("history.jsonl")).map_err(Failure::Harness)?;
        Ok((history, after))
    }

    fn expect(&self, crew: &mut Crew, report: &Report, patience: Duration) -> Result<(), Failure> {
        let heard = crew.hear(patience).map_err(harness)?;
        if heard == *report {
            return Ok(());
        }
        Err(Failure::Harness(format!("the clients said {heard:?} instead of {report:?}")))
    }

    /// Lets the nemesis loose for the scenario's time. It leaves everything healed, or says what is not.
    fn harm(
        &self,
        cluster: &mut Cluster,
        tape: &Tape,
        tell: &mut dyn FnMut(&str),
    ) -> Result<(), String> {
        let scenario = &self.assignment.scenario;
        let length = Duration::from_secs(scenario.fault_seconds);
        let shape = &scenario.nemesis;
        if shape.faults.is_empty() {
            rest(length);
            return Ok(());
        }
        let faults = faults(scenario).map_err(|name| format!("there is no fault {name:?}"))?;
        let terms = Terms {
            nodes: scenario.cluster.nodes,
            keep_quorum: shape.keep_quorum,
            period: Duration::from_secs(shape.period_seconds.max(1)),
            length,
        };
        let breaks_quorum: Vec<&str> = faults
            .iter()
            .map(|fault| fault.kind())
            .filter(|kind| kind.toll == Toll::Quorum)
            .map(|kind| kind.name)
            .collect();
        let nemesis = Nemesis::schedule(self.assignment.seed, faults, mode(&shape.mode), &terms);
        let mut note = |deed: Deed| {
            tell(&format!("  {} {:?}: {}", deed.fault, deed.phase, first_line(&deed.detail)));
            let keeps = shape.keep_quorum && !breaks_quorum.contains(&deed.fault);
            if !matches!(deed.fault, "settle" | "heal-all" | "end") {
                let phase = phase_of(deed.phase);
                tape.recorder().fault(deed.at_ns, deed.fault, &deed.detail, phase, keeps);
            }
        };
        let ended = nemesis.run(cluster, self.stop, &mut note);
        ended.map(drop).map_err(|setback| setback.to_string())
    }

    fn judge(&self, history: &History, after: &Aftermath) -> Result<Finished, Failure> {
        let scenario = &self.assignment.scenario;
        let seconds = scenario.quiet_seconds + scenario.fault_seconds;
        let expectations = verdict::expectations(scenario.nemesis.faults.len(), seconds);
        let judgement = checkers::judge(history, &expectations);
        let (outcome, notes) = weigh(scenario, &judgement, after);
        let mut whole = verdict::to_json(history, &judgement);
        whole["outcome"] = json!(outcome);
        whole["missing"] = json!(after.missing);
        whole["stuck"] = json!(after.stuck);
        whole["ends"] = json!(after.ends);
        let text = serde_json::to_string_pretty(&whole).expect("plain data");
        write(self.folder, "verdict.json", &text)?;
        page::write(history, &judgement, self.folder).map_err(Failure::Harness)?;
        let line = Line {
            at: 0,
            commit: String::new(),
            binary: String::new(),
            scenario: scenario.name.clone(),
            seed: self.assignment.seed,
            faults: judgement.faults.iter().map(|(name, (bit, _))| (name.clone(), *bit)).collect(),
            fault_seconds: after.fault_ns / 1_000_000_000,
            seconds: 0,
            operations: judgement.ops,
            acknowledged: judgement.acknowledged,
            acknowledged_per_second: acknowledged_per_second(history),
            verdict: verdict::name(outcome).to_owned(),
            notes,
            pairs: pairs::of(history),
        };
        let mut text = verdict::to_text(&judgement);
        for (what, lines) in
            [("missing", &after.missing), ("stuck", &after.stuck), ("ended", &after.ends)]
        {
            lines.iter().for_each(|line| text.push_str(&format!("  {what}: {line}\n")));
        }
        Ok(Finished { folder: self.folder.to_owned(), outcome, text, line })
    }
}

/// The checkers' verdict, and what the harness saw besides: a replica that nobody can read after healing is no pass, and a
/// node that does not come back is a violation unless the scenario lets it.
fn weigh(scenario: &Scenario, judgement: &Judgement, after: &Aftermath) -> (Outcome, Vec<String>) {
    let mut notes: Vec<String> = Vec::new();
    for (name, verdict) in &judgement.checks {
        let mut names: BTreeMap<String, u64> = BTreeMap::new();
        for violation in verdict.violations() {
            *names.entry(violation.name().to_owned()).or_default() += 1;
        }
        notes.extend(names.into_iter().map(|(what, count)| format!("{name}: {what} ×{count}")));
    }
    notes.extend(judgement.doubts.iter().cloned());
    let mut outcome = judgement.outcome;
    let panicked = after.ends.iter().filter(|end| end.contains("panicked"));
    for end in panicked {
        notes.push(end.clone());
        outcome = Outcome::Violated;
    }
    if !scenario.nemesis.may_leave {
        let left = after.stuck.iter().chain(&after.missing).take(3);
        for what in left {
            notes.push(what.lines().next().unwrap_or_default().to_owned());
            outcome = outcome.max(Outcome::Violated);
        }
    }
    (outcome, notes)
}

/// What a run's folder says about how to repeat it.
///
/// # Errors
/// One sentence.
pub fn options_of(folder: &Path) -> Result<(Scenario, u64), String> {
    facts::read_options(&folder.join("options.toml"))
}

/// The faults of a scenario, by name; `*` is the whole catalogue.
///
/// # Errors
/// The name that nobody knows.
pub fn faults(scenario: &Scenario) -> Result<Vec<Box<dyn Fault>>, String> {
    let names = &scenario.nemesis.faults;
    if names.iter().any(|name| name == "*") {
        return Ok(nemesis::catalogue());
    }
    names.iter().map(|name| nemesis::named(name).ok_or_else(|| name.clone())).collect()
}

fn mode(name: &str) -> Mode {
    match name {
        "pair" => Mode::Pair,
        "mix" => Mode::Mix,
        "swizzle" => Mode::Swizzle,
        "targeted" => Mode::Targeted,
        "every-pair" => Mode::EveryPair,
        _ => Mode::Single,
    }
}

/// A fault that nobody saw bite did not bite.
fn phase_of(phase: nemesis::Phase) -> checkers::Phase {
    match phase {
        nemesis::Phase::Install => checkers::Phase::Install,
        nemesis::Phase::Installed => checkers::Phase::Installed,
        nemesis::Phase::Indeterminate | nemesis::Phase::Skipped => checkers::Phase::Skipped,
        nemesis::Phase::Heal => checkers::Phase::Heal,
        nemesis::Phase::Healed => checkers::Phase::Healed,
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Acknowledged messages over the time from the first to the last.
fn acknowledged_per_second(history: &History) -> u64 {
    let acked = |op: &&checkers::Op| op.kind == Kind::Ok && matches!(op.f, F::Send { .. });
    let mut times = history.ops.iter().filter(acked).map(|op| op.time);
    let Some(first) = times.next() else { return 0 };
    let (count, last) = times.fold((1, first), |(count, _), time| (count + 1, time));
    count * 1_000_000_000 / (last - first).max(1)
}

fn write(folder: &Path, name: &str, text: &str) -> Result<(), Failure> {
    std::fs::write(folder.join(name), text).map_err(harness)
}

fn harness(error: impl std::fmt::Display) -> Failure {
    Failure::Harness(error.to_string())
}

fn unable(error: impl std::fmt::Display) -> Failure {
    Failure::Unable(error.to_string())
}
