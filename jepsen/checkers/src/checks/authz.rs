//! P10, membership at commit order: who was surely no member where a message was decided neither wrote nor got it,
//! who surely was one is not turned away, and nobody sees what was before them where that is not agreed.

use super::{Check, Facts};
use crate::history::{C, Code, D, F, History, Kind, Level, Op, U};
use crate::ledger::Rosters;
use crate::verdict::{Findings, Verdict, Violation};

/// Only members read and write.
pub(super) struct Authz;

impl Check for Authz {
    fn name(&self) -> &'static str {
        "authz"
    }

    fn judge(&self, facts: &Facts<'_>) -> Verdict {
        let history = facts.history;
        let ledger = &facts.ledger;
        let rosters = &facts.rosters;
        let mut guard = Guard {
            history,
            rosters,
            not_a_member: history.names.clone().code("not_a_member"),
            findings: Findings::default(),
        };
        for c in ledger.conversations() {
            for slot in ledger.slots(c) {
                guard.wrote(c, slot.entry.from, slot.entry.seq, slot.op);
            }
        }
        history.ops.iter().for_each(|op| guard.step(op));
        guard.findings.verdict()
    }
}

struct Guard<'h> {
    history: &'h History,
    rosters: &'h Rosters,
    not_a_member: Code,
    findings: Findings,
}

/// The witness of an exclusion, unless there is none since the user never was a member.
fn witness(op: u32) -> Option<u64> {
    (op != u32::MAX).then_some(u64::from(op))
}

impl Guard<'_> {
    fn wrote(&mut self, c: C, d: D, seq: u64, op: u32) {
        let user = self.history.names.user_of(d);
        let out = self.rosters.roster(c).surely_out(user, seq);
        self.findings.hold(out.is_none(), || {
            let ops = out.and_then(witness).into_iter().chain([u64::from(op)]);
            Violation::new("write-after-removal: a message of one who was no member is stored", ops)
                .at(c, [seq])
        });
    }

    fn step(&mut self, op: &Op) {
        match &op.f {
            F::Deliver { c, d, seq, .. } => self.got(op, *c, *d, *seq),
            F::Read { c, d, level, entries, .. } if op.kind == Kind::Ok => {
                entries.iter().for_each(|entry| self.got(op, *c, *d, entry.seq));
                if *level == Level::Linearizable {
                    self.may_read(op, *c, *d);
                }
            }
            F::Send { c, d, error, .. } | F::Read { c, d, error, .. }
                if op.kind == Kind::Fail && *error == Some(self.not_a_member) =>
            {
                self.turned_away(op, *c, *d);
            }
            _ => {}
        }
    }

    fn got(&mut self, op: &Op, c: C, d: D, seq: u64) {
        let user = self.history.names.user_of(d);
        let roster = self.rosters.roster(c);
        let out = roster.surely_out(user, seq);
        let early = self.before_joining(c, user, seq);
        // Where later members may read everything, what they missed before they came is not hidden from them.
        let came_later = roster.all && roster.changes_of(user).iter().any(|change| change.joins);
        self.findings.hold(out.is_none() || came_later || early.is_some(), || {
            let ops = out.and_then(witness).into_iter().chain([op.index]);
            let what = "read-after-removal: one who was no member got a message";
            Violation::new(what, ops).at(c, [seq])
        });
        self.findings.hold(early.is_none(), || {
            let what = "read-before-join: a member got a message from before they joined";
            Violation::new(what, early.map(u64::from).into_iter().chain([op.index])).at(c, [seq])
        });
    }

    /// The change by which a user joined who was never a member before, if this message surely was before it.
    fn before_joining(&self, c: C, user: U, seq: u64) -> Option<u32> {
        let roster = self.rosters.roster(c);
        let first = roster.first.as_ref()?;
        let changes = roster.changes_of(user);
        let joined = changes.iter().filter(|change| change.joins).map(|change| change.low).min();
        let before = !roster.all && !first.contains(&user) && joined.is_some_and(|low| seq <= low);
        before.then(|| changes[0].op)
    }

    /// A strong read that was asked for after the reader was surely removed.
    fn may_read(&mut self, op: &Op, c: C, d: D) {
        let user = self.history.names.user_of(d);
        let invoked = self.history.invoked_at(op);
        let out = self.rosters.roster(c).surely_out_during(user, invoked, op.time);
        self.findings.hold(out.is_none(), || {
            let ops = out.and_then(witness).into_iter().chain([op.index]);
            Violation::new(
                "read-after-removal: a strong read of a removed member was answered",
                ops,
            )
            .at(c, [])
        });
    }

    fn turned_away(&mut self, op: &Op, c: C, d: D) {
        let user = self.history.names.user_of(d);
        let invoked = self.history.invoked_at(op);
        let member = self.rosters.roster(c).surely_in_during(user, invoked, op.time);
        self.findings.hold(!member, || {
            Violation::new("refused-member: a member was turned away as none", [op.index]).at(c, [])
        });
    }
}
