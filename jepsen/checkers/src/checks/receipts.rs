//! P9, receipts: marks of delivered and read only rise, read implies delivered, nobody is told of a receipt that no
//! device gave, and in the end a device's cursor is what it confirmed.

use super::{Check, Facts};
use crate::fast::Map;
use crate::history::{C, D, F, History, Kind, Op, U};
use crate::ledger::{Ledger, Rosters};
use crate::verdict::{Findings, Verdict, Violation};

/// Receipts never go back and are never invented.
pub(super) struct Receipts;

impl Check for Receipts {
    fn name(&self) -> &'static str {
        "receipts"
    }

    fn judge(&self, facts: &Facts<'_>) -> Verdict {
        let history = facts.history;
        let ledger = &facts.ledger;
        let mut books = Books {
            history,
            rosters: &facts.rosters,
            ledger,
            newcomers: newcomers(history),
            asked: Map::default(),
            answered: Map::default(),
            of_user: Map::default(),
            told: Map::default(),
            cursors: Map::default(),
            findings: Findings::default(),
        };
        history.ops.iter().for_each(|op| books.step(op));
        books.findings.verdict()
    }
}

/// Delivered and read, with the operations that say so.
#[derive(Clone, Copy, Debug, Default)]
struct Marks {
    delivered: u64,
    read: u64,
    delivered_op: u32,
    read_op: u32,
}

impl Marks {
    fn rise(&mut self, seq: u64, read: bool, op: u32) {
        if seq > self.delivered {
            (self.delivered, self.delivered_op) = (seq, op);
        }
        if read && seq > self.read {
            (self.read, self.read_op) = (seq, op);
        }
    }
}

struct Books<'h> {
    history: &'h History,
    rosters: &'h Rosters,
    ledger: &'h Ledger,
    /// For each user the devices, each with the time of its first link.
    newcomers: Map<u32, u64>,
    /// Highest confirmation asked for and answered, by conversation and device.
    asked: Map<(u32, u32), Marks>,
    answered: Map<(u32, u32), Marks>,
    /// Highest confirmation asked for, by conversation and user.
    of_user: Map<(u32, u32), Marks>,
    /// What a sender was told, by conversation and device.
    told: Map<(u32, u32), Marks>,
    /// Where a cursor was said to be, by conversation, device and observing process.
    cursors: Map<(u32, u32, u32), Marks>,
    findings: Findings,
}

/// When the latest device of each user had its first link.
fn newcomers(history: &History) -> Map<u32, u64> {
    let mut first = Map::<u32, u64>::default();
    for op in &history.ops {
        if let F::Connect { d, .. } = op.f {
            first.entry(d.0).or_insert(op.time);
        }
    }
    let mut latest = Map::<u32, u64>::default();
    for (d, time) in first {
        let mark = latest.entry(history.names.user_of(D(d)).0).or_insert(time);
        *mark = time.max(*mark);
    }
    latest
}

impl Books<'_> {
    fn step(&mut self, op: &Op) {
        match op.f {
            F::Confirm { c, d, seq, read, .. } => self.confirm(op, (c, d), seq, read),
            F::Status { c, d, seq, delivered, read } => {
                self.status(op, (c, d), seq, (delivered, read));
            }
            F::Cursor { c, d, delivered, read, last } => {
                self.cursor(op, (c, d), (delivered, read), last)
            }
            _ => {}
        }
    }

    fn confirm(&mut self, op: &Op, (c, d): (C, D), seq: u64, read: bool) {
        let at = op.index as u32;
        match op.kind {
            Kind::Invoke => {
                let user = self.history.names.user_of(d);
                self.asked.entry((c.0, d.0)).or_default().rise(seq, read, at);
                self.of_user.entry((c.0, user.0)).or_default().rise(seq, read, at);
            }
            Kind::Ok => self.answered.entry((c.0, d.0)).or_default().rise(seq, read, at),
            _ => {}
        }
    }

    fn status(&mut self, op: &Op, (c, d): (C, D), seq: u64, (delivered, read): (bool, bool)) {
        self.findings.hold(delivered || !read, || {
            Violation::new(
                "read-undelivered: a message is said to be read and not delivered",
                [op.index],
            )
            .at(c, [seq])
        });
        let told = self.told.entry((c.0, d.0)).or_default();
        let fell = (!delivered && told.delivered >= seq).then_some(told.delivered_op);
        let fell = fell.or((!read && told.read >= seq).then_some(told.read_op));
        self.findings.hold(fell.is_none(), || {
            let before = fell.map(u64::from);
            Violation::new(
                "status-back: a receipt that was told is taken back",
                before.into_iter().chain([op.index]),
            )
            .at(c, [seq])
        });
        if delivered {
            told.rise(seq, read, op.index as u32);
            self.earned(op, (c, d), seq, read);
        }
    }

    /// Every steady other member asked to confirm it.
    fn earned(&mut self, op: &Op, (c, d): (C, D), seq: u64, read: bool) {
        let own = self.history.names.user_of(d);
        let roster = self.rosters.roster(c);
        let judged =
            |u: &&U| **u != own && roster.is_steady(**u) && self.is_settled(**u, roster.created);
        let missing = roster.first.iter().flatten().filter(judged).find(|u| {
            let marks = self.of_user.get(&(c.0, u.0)).copied().unwrap_or_default();
            let held =
                |mark| self.with_own(c, mark, |from| self.history.names.user_of(from) == **u);
            held(marks.delivered) < seq || (read && held(marks.read) < seq)
        });
        self.findings.hold(missing.is_none(), || {
            let what = "invented-receipt: a sender is told of a receipt that a member never gave";
            Violation::new(what, [op.index]).at(c, [seq])
        });
    }

    /// Up to where a mark reaches when the messages that follow it are the confirmer's own: whoever sent a message has
    /// it, and a client may say so in its confirmation.
    fn with_own(&self, c: C, mark: u64, own: impl Fn(D) -> bool) -> u64 {
        let mut reached = mark;
        while self.ledger.at(c, reached + 1).is_some_and(|slot| own(slot.entry.from)) {
            reached += 1;
        }
        reached
    }

    /// All devices of the user had a link before the conversation began: a device that comes later begins at the
    /// end, and counts as having everything before.
    fn is_settled(&self, u: U, created: u64) -> bool {
        self.newcomers.get(&u.0).is_some_and(|latest| *latest < created)
    }

    fn cursor(&mut self, op: &Op, (c, d): (C, D), (delivered, read): (u64, u64), last: bool) {
        self.findings.hold(read <= delivered, || {
            Violation::new("read-undelivered: a cursor has read beyond delivered", [op.index])
                .at(c, [delivered, read])
        });
        let before = self.cursors.entry((c.0, d.0, op.process)).or_default();
        let fell = delivered < before.delivered || read < before.read;
        let witness = u64::from(if delivered < before.delivered {
            before.delivered_op
        } else {
            before.read_op
        });
        self.findings.hold(!fell, || {
            Violation::new("cursor-back: a cursor went back", [witness, op.index])
                .at(c, [delivered, read])
        });
        before.rise(delivered, false, op.index as u32);
        before.rise(read, true, op.index as u32);
        if last {
            self.last_cursor(op, (c, d), (delivered, read));
        }
    }

    fn last_cursor(&mut self, op: &Op, (c, d): (C, D), (delivered, read): (u64, u64)) {
        let answered = self.answered.get(&(c.0, d.0)).copied().unwrap_or_default();
        let lost = delivered < answered.delivered || read < answered.read;
        let by =
            if delivered < answered.delivered { answered.delivered_op } else { answered.read_op };
        self.findings.hold(!lost, || {
            let what = "lost-receipt: a cursor is not as far as was acknowledged";
            Violation::new(what, [u64::from(by), op.index]).at(c, [delivered, read])
        });
        if self.rosters.was_there(d.0, c) {
            let asked = self.asked.get(&(c.0, d.0)).copied().unwrap_or_default();
            let held = |mark| self.with_own(c, mark, |from| from == d);
            let far = delivered > held(asked.delivered) || read > held(asked.read);
            self.findings.hold(!far, || {
                let what = "invented-receipt: a cursor is farther than its device ever confirmed";
                Violation::new(what, [op.index]).at(c, [delivered, read])
            });
        }
    }
}
