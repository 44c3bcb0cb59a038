//! P6, the guarantees of one device, wherever it is connected: its messages lie in the order in which it counted
//! them and without a gap, and a read that asks for at least a sequence gets it.

use super::{Check, Facts};
use crate::fast::Map;
use crate::history::{C, D, F, History, Kind, Level, Op};
use crate::ledger::{Attempts, Ledger, Streams, observations};
use crate::verdict::{Findings, Verdict, Violation};
use std::ops::Range;

/// More refusals in a row than a device away from its group collects; beyond them a gap is a gap.
const REFUSED_MAX: u64 = 1 << 20;

/// A device sees its own past.
pub(super) struct Session;

impl Check for Session {
    fn name(&self) -> &'static str {
        "session"
    }

    fn judge(&self, facts: &Facts<'_>) -> Verdict {
        let history = facts.history;
        let mut findings = Findings::default();
        writes(&mut findings, &facts.ledger, &facts.attempts);
        reads(&mut findings, history);
        findings.verdict()
    }
}

fn writes(findings: &mut Findings, ledger: &Ledger, attempts: &Attempts) {
    for c in ledger.conversations() {
        let mut last = Map::<u32, (u64, u64, u32)>::default();
        for slot in ledger.slots(c).filter(|slot| slot.entry.k != 0) {
            let entry = &slot.entry;
            let (k, seq, op) =
                last.insert(entry.from.0, (entry.k, entry.seq, slot.op)).unwrap_or_default();
            let ops = [u64::from(op), u64::from(slot.op)];
            findings.hold(entry.k > k, || {
                let what = "nonmonotonic-writes: a device's messages lie in another order than it counted them";
                Violation::new(what, ops).at(c, [seq, entry.seq])
            });
            if entry.k > k + 1 && whole_before(ledger, c, entry.seq) {
                findings.hold(gap_is_refused(attempts, c, entry.from, k + 1..entry.k), || {
                    let what =
                        "lost-write: a device's order is stored and the one before it is not";
                    Violation::new(what, ops).at(c, [seq, entry.seq])
                });
            }
        }
    }
}

/// Whether every message that is missing was refused, or given up, before anything was said to be stored of it: a device
/// may count what it was refused.
fn gap_is_refused(attempts: &Attempts, c: C, from: D, missing: Range<u64>) -> bool {
    missing.end - missing.start <= REFUSED_MAX
        && missing
            .clone()
            .all(|k| attempts.other_under(c, from, k).is_some_and(|attempt| attempt.acked.0 == 0))
}

/// Whether somebody told of every place before this one. Asked only where a violation is suspected.
fn whole_before(ledger: &Ledger, c: C, seq: u64) -> bool {
    ledger.slots(c).take_while(|slot| slot.entry.seq < seq).count() as u64 == seq - 1
}

/// What a device knows of a conversation, and what it knew when its open reads began.
fn reads(findings: &mut Findings, history: &History) {
    let mut streams = Streams::default();
    let mut known: Vec<(u64, u32)> = Vec::new();
    let mut open = Map::<u32, (u64, u32)>::default();
    for op in &history.ops {
        if let F::Read { c, d, level, .. } = &op.f {
            let stream = streams.number(*c, *d);
            known.resize(streams.len().max(known.len()), (0, 0));
            if op.kind == Kind::Invoke {
                open.insert(op.process, known[stream]);
            } else {
                let floor = open.remove(&op.process);
                read(findings, op, *level, floor);
            }
        }
        learn(&mut streams, &mut known, op);
    }
}

fn read(findings: &mut Findings, op: &Op, level: Level, floor: Option<(u64, u32)>) {
    let F::Read { c, entries, head, .. } = &op.f else { return };
    if op.kind != Kind::Ok {
        return;
    }
    let Some(end) = head.or_else(|| entries.last().map(|entry| entry.seq)) else { return };
    match level {
        Level::AtLeast(seq) if head.is_some() => findings.hold(end >= seq, || {
            let what = "stale-session: a read does not reach the sequence that was asked for";
            Violation::new(what, [op.index]).at(*c, [seq, end])
        }),
        Level::Linearizable if head.is_some() => {
            let (seq, witness) = floor.unwrap_or_default();
            findings.hold(end >= seq, || {
                let what = "stale-session: a strong read does not know what its own device knew";
                Violation::new(what, [u64::from(witness), op.index]).at(*c, [seq, end])
            });
        }
        _ => {}
    }
}

fn learn(streams: &mut Streams, known: &mut Vec<(u64, u32)>, op: &Op) {
    let d = match &op.f {
        F::Send { d, .. } | F::Deliver { d, .. } | F::Read { d, .. } => *d,
        _ => return,
    };
    for (c, entry) in observations(op) {
        let stream = streams.number(c, d);
        known.resize(streams.len().max(known.len()), (0, 0));
        if entry.seq > known[stream].0 {
            known[stream] = (entry.seq, op.index as u32);
        }
    }
}
