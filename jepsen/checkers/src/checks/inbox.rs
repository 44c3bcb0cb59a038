//! P18, the inbox: read back at the end, a user's list holds the conversations that the logs imply, each with its
//! last sequence and with as many unread messages as the user has not read.

use super::{Check, Facts};
use crate::fast::{Map, Set};
use crate::history::{C, F, History, InboxLine, Kind, Op, U};
use crate::ledger::{Ledger, Rosters};
use crate::verdict::{Findings, Verdict, Violation};

/// Inboxes agree with the conversations.
pub(super) struct Inbox;

impl Check for Inbox {
    fn name(&self) -> &'static str {
        "inbox"
    }

    fn judge(&self, facts: &Facts<'_>) -> Verdict {
        let history = facts.history;
        let ledger = &facts.ledger;
        let mut lists = Lists {
            history,
            rosters: &facts.rosters,
            due: Map::default(),
            reads: reads(history),
            complete: complete(history),
            ledger,
            findings: Findings::default(),
        };
        lists.owe();
        for op in &history.ops {
            if let F::Inbox { u, entries } = &op.f {
                lists.list(op, *u, entries);
            }
        }
        lists.findings.verdict()
    }
}

/// Highest read mark of each user in each conversation: answered, and asked for.
fn reads(history: &History) -> Map<(u32, u32), (u64, u64)> {
    let mut reads = Map::<(u32, u32), (u64, u64)>::default();
    for op in &history.ops {
        if let F::Confirm { c, d, seq, read: true, .. } = op.f {
            let marks = reads.entry((c.0, history.names.user_of(d).0)).or_default();
            match op.kind {
                Kind::Invoke => marks.1 = marks.1.max(seq),
                Kind::Ok => marks.0 = marks.0.max(seq),
                _ => {}
            }
        }
    }
    reads
}

/// The length of every conversation that was read back.
fn complete(history: &History) -> Map<u32, u64> {
    let mut complete = Map::default();
    for op in &history.ops {
        if let F::Final { c, entries, .. } = &op.f {
            complete.insert(c.0, entries.last().map_or(0, |entry| entry.seq));
        }
    }
    complete
}

struct Lists<'h> {
    history: &'h History,
    rosters: &'h Rosters,
    ledger: &'h Ledger,
    /// Conversations that a user surely is a member of.
    due: Map<u32, Vec<C>>,
    reads: Map<(u32, u32), (u64, u64)>,
    complete: Map<u32, u64>,
    findings: Findings,
}

impl Lists<'_> {
    fn owe(&mut self) {
        for c in self.ledger.conversations() {
            let roster = self.rosters.roster(c);
            let begun = !roster.direct || self.ledger.last(c) > 0;
            for u in roster.first.iter().flatten() {
                if begun && roster.is_steady(*u) {
                    self.due.entry(u.0).or_default().push(c);
                }
            }
        }
    }

    fn list(&mut self, op: &Op, u: U, lines: &[InboxLine]) {
        let listed: Set<u32> = lines.iter().map(|line| line.c.0).collect();
        for c in self.due.get(&u.0).into_iter().flatten() {
            self.findings.hold(listed.contains(&c.0), || {
                Violation::new("inbox-missing: a list lacks a conversation of its user", [op.index])
                    .at(*c, [])
            });
        }
        for line in lines {
            self.line(op, u, line);
        }
    }

    fn line(&mut self, op: &Op, u: U, line: &InboxLine) {
        let invoked = self.history.invoked_at(op);
        let gone = self.rosters.roster(line.c).surely_out_during(u, invoked, op.time);
        self.findings.hold(gone.is_none(), || {
            let what = "inbox-stranger: a list has a conversation that its user was removed from";
            Violation::new(what, gone.map(u64::from).into_iter().chain([op.index])).at(line.c, [])
        });
        let Some(&last) = self.complete.get(&line.c.0) else { return };
        self.findings.hold(line.last == last, || {
            let what = "inbox-last: a list has another end of a conversation than its replicas";
            Violation::new(what, [op.index]).at(line.c, [line.last, last])
        });
        if self.rosters.roster(line.c).is_steady(u) {
            self.unread(op, u, line);
        }
    }

    fn unread(&mut self, op: &Op, u: U, line: &InboxLine) {
        let (answered, asked) = self.reads.get(&(line.c.0, u.0)).copied().unwrap_or_default();
        let foreign = |mark: u64| {
            let others = self.ledger.slots(line.c).filter(|slot| slot.entry.seq > mark);
            others.filter(|slot| self.history.names.user_of(slot.entry.from) != u).count() as u64
        };
        let (least, most) = (foreign(asked), foreign(answered));
        self.findings.hold((least..=most).contains(&line.unread), || {
            let what = format!(
                "inbox-unread: {} unread are told where {least} to {most} are",
                line.unread
            );
            Violation::new(what, [op.index]).at(line.c, [line.last])
        });
    }
}
