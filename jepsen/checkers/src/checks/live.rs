//! P15, liveness: while a shard has a quorum that clients reach and the faults around it do not change, somebody
//! who sends is answered within the time of recovery.

use super::{Check, Facts};
use crate::fast::Map;
use crate::history::{C, Code, F, History, Kind, Op, Phase};
use crate::verdict::{Findings, Verdict, Violation};

/// Nothing stalls for longer than this.
pub(super) struct Live {
    /// Nanoseconds; 0 judges nothing.
    pub(super) recovery_ns: u64,
}

/// Codes that say that nothing was decided: they are no sign of life.
const SILENT: [&str; 6] =
    ["unavailable", "overloaded", "rate_limited", "unknown_outcome", "internal", "unauthenticated"];

impl Check for Live {
    fn name(&self) -> &'static str {
        "live"
    }

    fn judge(&self, facts: &Facts<'_>) -> Verdict {
        let history = facts.history;
        if self.recovery_ns == 0 {
            return Verdict::Valid { judged: 0 };
        }
        let mut names = history.names.clone();
        let mut watch = Watch {
            recovery_ns: self.recovery_ns,
            silent: SILENT.iter().map(|code| names.code(code)).collect(),
            shards: shards(history),
            waits: Map::default(),
            broken: 0,
            findings: Findings::default(),
        };
        history.ops.iter().for_each(|op| watch.step(op));
        watch.finish();
        watch.findings.verdict()
    }
}

/// The shard of each conversation, where the history tells.
fn shards(history: &History) -> Map<u32, u32> {
    let mut shards = Map::default();
    for op in &history.ops {
        if let F::Owner { c, shard, .. } = op.f {
            shards.insert(c.0, shard);
        }
    }
    shards
}

/// How long the senders of one shard have waited.
#[derive(Clone, Copy, Debug, Default)]
struct Wait {
    /// Since when, and for which operation.
    since: Option<(u64, u64)>,
    under_way: u64,
    /// The last time that anybody wanted something.
    wanted: u64,
}

struct Watch {
    recovery_ns: u64,
    silent: Vec<Code>,
    shards: Map<u32, u32>,
    waits: Map<u32, Wait>,
    /// Faults at work that leave some shard without a quorum.
    broken: u64,
    findings: Findings,
}

impl Watch {
    fn step(&mut self, op: &Op) {
        match &op.f {
            F::Send { c, error, .. } => self.send(op, *c, *error),
            F::Fault { phase, keeps_quorum, .. } => self.fault(op, *phase, *keeps_quorum),
            _ => {}
        }
    }

    fn send(&mut self, op: &Op, c: C, error: Option<Code>) {
        let shard = self.shards.get(&c.0).copied().unwrap_or(u32::MAX);
        let wait = self.waits.entry(shard).or_default();
        wait.wanted = op.time;
        if op.kind == Kind::Invoke {
            wait.under_way += 1;
            wait.since = wait.since.or(Some((op.time, op.index)));
            return;
        }
        wait.under_way = wait.under_way.saturating_sub(1);
        let decided = match op.kind {
            Kind::Ok => true,
            Kind::Fail => !error.is_some_and(|code| self.silent.contains(&code)),
            _ => false,
        };
        if !decided {
            return;
        }
        let since = wait.since;
        wait.since = (wait.under_way > 0).then_some((op.time, op.index));
        self.end_of_wait(since, op.time, Some(op.index));
    }

    fn end_of_wait(&mut self, since: Option<(u64, u64)>, now: u64, by: Option<u64>) {
        let Some((since, first)) = since else { return };
        if self.broken > 0 {
            return;
        }
        let waited = now.saturating_sub(since);
        self.findings.hold(waited <= self.recovery_ns, || {
            let what = format!(
                "stall: nobody was answered for {} ms while a quorum was there",
                waited / 1_000_000
            );
            Violation::new(what, [first].into_iter().chain(by))
        });
    }

    /// The clock of recovery begins anew with every change.
    fn fault(&mut self, op: &Op, phase: Phase, keeps_quorum: bool) {
        let waiting: Vec<(u64, u64)> = self.waits.values().filter_map(|wait| wait.since).collect();
        waiting.into_iter().for_each(|since| self.end_of_wait(Some(since), op.time, None));
        match phase {
            Phase::Install if !keeps_quorum => self.broken += 1,
            Phase::Healed | Phase::Skipped if !keeps_quorum => {
                self.broken = self.broken.saturating_sub(1)
            }
            _ => {}
        }
        for wait in self.waits.values_mut().filter(|wait| wait.since.is_some()) {
            wait.since = Some((op.time, op.index));
        }
    }

    fn finish(&mut self) {
        let waits: Vec<Wait> = self.waits.values().copied().collect();
        waits.into_iter().for_each(|wait| self.end_of_wait(wait.since, wait.wanted, None));
    }
}
