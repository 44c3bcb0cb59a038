//! P20, time is not order: the server's times of a conversation never fall as its sequence rises, and a message has
//! one time for ever.

use super::{Check, Facts};
use crate::fast::Map;
use crate::ledger::observations;
use crate::verdict::{Findings, Verdict, Violation};

/// Time never runs backwards in a conversation.
pub(super) struct Clock;

impl Check for Clock {
    fn name(&self) -> &'static str {
        "clock"
    }

    fn judge(&self, facts: &Facts<'_>) -> Verdict {
        let history = facts.history;
        let mut findings = Findings::default();
        let mut times = Map::<(u32, u64), (u64, u32)>::default();
        for op in &history.ops {
            let mut last: Option<(u64, u64)> = None;
            for (c, entry) in observations(op).filter(|(_, entry)| entry.at != 0) {
                let (at, first) =
                    *times.entry((c.0, entry.seq)).or_insert((entry.at, op.index as u32));
                findings.hold(at == entry.at, || {
                    let what = "time-changed: a message has two times";
                    Violation::new(what, [u64::from(first), op.index]).at(c, [entry.seq])
                });
                let (before, seq) = last.unwrap_or_default();
                findings.hold(entry.at >= before || entry.seq < seq, || {
                    let what = "time-back: a later message has an earlier time";
                    Violation::new(what, [op.index]).at(c, [seq, entry.seq])
                });
                last = Some((entry.at, entry.seq));
            }
        }
        findings.verdict()
    }
}
