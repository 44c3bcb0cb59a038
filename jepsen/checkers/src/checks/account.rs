//! P2, P3, P4 and P14: every acknowledged message is where it was acknowledged, on every replica, once; nothing is
//! stored that nobody sent or that was certainly refused.

use super::{Check, Facts};
use crate::fast::Map;
use crate::history::{C, Code, D, Entry, F, History, Kind, Op};
use crate::ledger::{Attempts, observations, same};
use crate::verdict::{Findings, Verdict, Violation};
use std::borrow::Cow;

/// The books balance.
pub(super) struct Account;

impl Check for Account {
    fn name(&self) -> &'static str {
        "account"
    }

    fn judge(&self, facts: &Facts<'_>) -> Verdict {
        let history = facts.history;
        let mut findings = Findings::default();
        let broken = Refusals::of(history);
        let attempts = &facts.attempts;
        for op in history.ops.iter().filter(|op| op.kind != Kind::Invoke) {
            answer(&mut findings, &broken, attempts, op);
        }
        let ledger = &facts.ledger;
        let mut found = Found::new(attempts);
        for c in ledger.conversations() {
            for slot in ledger.slots(c) {
                found.entry(&mut findings, attempts, c, (&slot.entry, slot.op));
            }
        }
        for op in &history.ops {
            for (c, entry) in observations(op) {
                let known = ledger.at(c, entry.seq).is_some_and(|slot| same(&slot.entry, &entry));
                if !known {
                    found.entry(&mut findings, attempts, c, (&entry, op.index as u32));
                }
            }
        }
        let unread = kept(&mut findings, history);
        match findings.verdict() {
            Verdict::Valid { .. } if unread > 0 => Verdict::Unknown {
                why: format!(
                    "{unread} conversations with acknowledged messages were not read back"
                ),
            },
            verdict => verdict,
        }
    }
}

/// Codes with which a retry of something stored may never be answered.
struct Refusals {
    codes: Vec<Code>,
}

impl Refusals {
    fn of(history: &History) -> Refusals {
        let mut names = history.names.clone();
        Refusals {
            codes: ["conflict", "out_of_order"].iter().map(|name| names.code(name)).collect(),
        }
    }
}

/// An answer that contradicts an earlier one.
fn answer(findings: &mut Findings, refusals: &Refusals, attempts: &Attempts, op: &Op) {
    let F::Send { c, d, k, h, seq, error, .. } = op.f else { return };
    let entry = Entry { seq, from: d, k, h, chain: 0, at: 0 };
    let Some((_, attempt)) = attempts.behind(c, &entry) else { return };
    let (acked, by) = attempt.acked;
    let ops = [u64::from(by), op.index];
    if acked == 0 || ops[0] >= op.index {
        return;
    }
    if op.kind == Kind::Ok {
        findings.hold(acked == seq, || {
            Violation::new("moved-ack: a retry was told another place", ops).at(c, [acked, seq])
        });
    }
    if op.kind == Kind::Fail && error.is_some_and(|code| refusals.codes.contains(&code)) {
        findings.violate(|| {
            Violation::new("refused-retry: a retry of a stored message was refused", ops)
                .at(c, [acked])
        });
    }
}

/// Where each message and each order was first found.
struct Found {
    /// By number of the attempt; the sequence is 0 while it was not found.
    messages: Vec<(u64, u32)>,
    orders: Map<(u32, u32, u64), (u64, u32)>,
}

impl Found {
    fn new(attempts: &Attempts) -> Found {
        Found { messages: vec![(0, 0); attempts.len()], orders: Map::default() }
    }

    fn entry(
        &mut self,
        findings: &mut Findings,
        attempts: &Attempts,
        c: C,
        (entry, op): (&Entry, u32),
    ) {
        match attempts.behind(c, entry) {
            None => findings.hold(false, || phantom(attempts, c, (entry, op))),
            Some((at, attempt)) => {
                findings.hold(attempt.open > 0, || {
                    let what = "resurrected: a message that was certainly refused is stored";
                    Violation::new(what, [u64::from(attempt.op), u64::from(op)]).at(c, [entry.seq])
                });
                let found = &mut self.messages[at as usize];
                if found.0 == 0 {
                    *found = (entry.seq, op);
                }
                let (seq, first) = *found;
                findings.hold(seq == entry.seq, || {
                    let what = "duplicate: one message has two places";
                    Violation::new(what, [u64::from(first), u64::from(op)]).at(c, [seq, entry.seq])
                });
            }
        }
        if entry.k != 0 {
            let (seq, first) =
                *self.orders.entry((c.0, entry.from.0, entry.k)).or_insert((entry.seq, op));
            findings.hold(seq == entry.seq, || {
                let what = "duplicate-order: one order of a device has two places";
                Violation::new(what, [u64::from(first), u64::from(op)]).at(c, [seq, entry.seq])
            });
        }
    }
}

fn phantom(attempts: &Attempts, c: C, (entry, op): (&Entry, u32)) -> Violation {
    match attempts.other_under(c, entry.from, entry.k) {
        Some(other) => {
            let what = "altered: a stored message is not what its device sent";
            Violation::new(what, [u64::from(other.op), u64::from(op)]).at(c, [entry.seq])
        }
        None => Violation::new("phantom: nobody sent what is stored", [u64::from(op)])
            .at(c, [entry.seq]),
    }
}

/// A replica's read-back.
struct Replica<'h> {
    op: u64,
    replica: u8,
    /// Ascending.
    entries: Cow<'h, [Entry]>,
}

impl<'h> Replica<'h> {
    fn new(op: u64, replica: u8, entries: &'h [Entry]) -> Replica<'h> {
        let mut entries = Cow::Borrowed(entries);
        if !entries.is_sorted_by_key(|entry| entry.seq) {
            entries.to_mut().sort_by_key(|entry| entry.seq);
        }
        Replica { op, replica, entries }
    }

    fn at(&self, seq: u64) -> Option<&Entry> {
        let at = self.entries.binary_search_by_key(&seq, |entry| entry.seq).ok()?;
        self.entries.get(at)
    }

    fn kind_of_loss(&self, seq: u64) -> &'static str {
        match (self.at(seq), self.entries.first(), self.entries.last()) {
            (Some(_), ..) => "lost-replaced",
            (None, Some(first), _) if seq < first.seq => "lost-prefix",
            (None, _, Some(last)) if seq < last.seq => "lost-middle",
            _ => "lost-tail",
        }
    }
}

/// A run of losses of one replica in one conversation.
struct Loss {
    kind: &'static str,
    acks: Vec<u64>,
    seqs: Vec<u64>,
}

/// Compares every acknowledgement with every replica; gives the number of conversations not read back.
fn kept(findings: &mut Findings, history: &History) -> u64 {
    let mut finals: Vec<Vec<Replica<'_>>> = Vec::new();
    finals.resize_with(history.names.conversations_len(), Vec::new);
    for op in &history.ops {
        if let F::Final { c, replica, entries, .. } = &op.f {
            finals[c.0 as usize].push(Replica::new(op.index, *replica, entries));
        }
    }
    let mut acks: Vec<Vec<(u64, u32, D, u64)>> = vec![Vec::new(); finals.len()];
    for op in &history.ops {
        if let F::Send { c, d, h, seq, .. } = op.f
            && op.kind == Kind::Ok
        {
            acks[c.0 as usize].push((seq, op.index as u32, d, h));
        }
    }
    let mut unread = 0;
    for (c, (acks, replicas)) in acks.iter_mut().zip(&finals).enumerate() {
        acks.sort_unstable();
        unread += u64::from(replicas.is_empty() && !acks.is_empty());
        for replica in replicas {
            kept_by(findings, C(c as u32), acks, replica);
        }
    }
    unread
}

fn kept_by(findings: &mut Findings, c: C, acks: &[(u64, u32, D, u64)], replica: &Replica<'_>) {
    let mut run: Option<Loss> = None;
    for (seq, op, from, h) in acks {
        let holds = replica.at(*seq).is_some_and(|entry| entry.from == *from && entry.h == *h);
        findings.judge();
        if holds {
            report(findings, c, replica, run.take());
            continue;
        }
        let kind = replica.kind_of_loss(*seq);
        if run.as_ref().is_some_and(|loss| loss.kind != kind) {
            report(findings, c, replica, run.take());
        }
        let loss = run.get_or_insert(Loss { kind, acks: Vec::new(), seqs: Vec::new() });
        loss.acks.push(u64::from(*op));
        loss.seqs.push(*seq);
    }
    report(findings, c, replica, run);
}

/// Operations that a violation names, of a long run of losses.
const NAMED_MAX: usize = 20;

fn report(findings: &mut Findings, c: C, replica: &Replica<'_>, loss: Option<Loss>) {
    let Some(loss) = loss else { return };
    let (first, last) = (loss.seqs[0], loss.seqs[loss.seqs.len() - 1]);
    findings.violate(|| {
        let what = format!(
            "{}: {} acknowledged messages from {first} to {last} are not where they were acknowledged on n{}",
            loss.kind,
            loss.seqs.len(),
            replica.replica,
        );
        let ops = loss.acks.iter().take(NAMED_MAX).copied().chain([replica.op]);
        Violation::new(what, ops).at(c, loss.seqs.iter().take(NAMED_MAX).copied())
    });
}
