//! P1, appends and strong reads are linearizable. The sequence is the witness of the order, so nothing is searched:
//! whatever began after a sequence was known to anybody lies behind it, and a strong read that began then shows it.

use super::{Check, Facts};
use crate::fast::Map;
use crate::history::{C, Entry, F, History, Kind, Level, Op};
use crate::ledger::{Attempts, Seen};
use crate::verdict::{Findings, Verdict, Violation};

/// Real time and the order of sequences agree.
pub(super) struct Order;

impl Check for Order {
    fn name(&self) -> &'static str {
        "order"
    }

    fn judge(&self, facts: &Facts<'_>) -> Verdict {
        let history = facts.history;
        let mut findings = Findings::default();
        let attempts = &facts.attempts;
        let ledger = &facts.ledger;
        for c in ledger.conversations() {
            for slot in ledger.slots(c) {
                placed_after_what_was_known(&mut findings, attempts, c, (&slot.entry, slot.op));
            }
        }
        reads(&mut findings, history, attempts);
        findings.verdict()
    }
}

fn placed_after_what_was_known(
    findings: &mut Findings,
    attempts: &Attempts,
    c: C,
    (entry, op): (&Entry, u32),
) {
    let Some((_, attempt)) = attempts.behind(c, entry) else { return };
    let (floor, witness) = attempt.floor;
    findings.hold(entry.seq > floor, || {
        let what = "reorder: a message asked for after a place was known lies before it";
        Violation::new(what, [u64::from(witness), u64::from(attempt.op), u64::from(op)])
            .at(c, [floor, entry.seq])
    });
}

fn reads(findings: &mut Findings, history: &History, attempts: &Attempts) {
    let mut seen = Seen::new(history);
    let mut open = Map::<u32, (u64, u32)>::default();
    for op in &history.ops {
        if let F::Read { c, level: Level::Linearizable, .. } = &op.f {
            match op.kind {
                Kind::Invoke => {
                    open.insert(op.process, seen.before(*c, op.time));
                }
                _ => {
                    let floor = open.remove(&op.process);
                    read(findings, attempts, op, floor.filter(|_| op.kind == Kind::Ok));
                }
            }
        }
        seen.learn(op);
    }
}

fn read(findings: &mut Findings, attempts: &Attempts, op: &Op, floor: Option<(u64, u32)>) {
    let F::Read { c, after, entries, head, .. } = &op.f else { return };
    if op.kind != Kind::Ok {
        return;
    }
    if let (Some((floor, witness)), Some(head)) = (floor, head) {
        findings.hold(*head >= floor, || {
            let what = "stale-read: a strong read does not know what was known before it began";
            Violation::new(what, [u64::from(witness), op.index]).at(*c, [floor, *head])
        });
    }
    if let (Some((floor, witness)), true) = (floor, entries.is_empty()) {
        findings.hold(*after >= floor, || {
            let what = "stale-read: a strong read finds nothing where something was known";
            Violation::new(what, [u64::from(witness), op.index]).at(*c, [*after, floor])
        });
    }
    for entry in entries {
        let Some((_, attempt)) = attempts.behind(*c, entry) else { continue };
        findings.hold(attempt.invoked <= op.time, || {
            let what = "future-read: a read shows what was asked for after it ended";
            Violation::new(what, [op.index, u64::from(attempt.op)]).at(*c, [entry.seq])
        });
    }
}
