//! P5, one history: sequences are dense, and any two observers agree on every place, on its chain and on the end.

use super::{Check, Facts};
use crate::fast::Map;
use crate::history::{C, Entry, F, History, Kind, Op};
use crate::ledger::{Ledger, observations, same};
use crate::verdict::{Findings, Verdict, Violation};

/// All observers saw the same conversation.
pub(super) struct Prefix;

impl Check for Prefix {
    fn name(&self) -> &'static str {
        "prefix"
    }

    fn judge(&self, facts: &Facts<'_>) -> Verdict {
        let history = facts.history;
        let ledger = &facts.ledger;
        let mut findings = Findings::default();
        for (c, seq, op) in &ledger.beyond {
            findings.hold(false, || {
                Violation::new("hole: a sequence far beyond everything stored", [u64::from(*op)])
                    .at(*c, [*seq])
            });
        }
        let late = late_readers(history);
        let mut ends = Map::<u32, (u64, u64, u32)>::default();
        for op in &history.ops {
            for (c, entry) in observations(op) {
                agree(&mut findings, ledger, op, c, &entry);
            }
            match &op.f {
                F::Read { c, d, after, entries, .. } if op.kind == Kind::Ok => {
                    let user = history.names.user_of(*d);
                    let exact = !late.contains(&(c.0, user.0));
                    dense(&mut findings, op, *c, *after, (entries, exact));
                }
                F::Final { c, entries, chain, .. } => {
                    dense(&mut findings, op, *c, 0, (entries, true));
                    same_end(&mut findings, &mut ends, op, (*c, entries.len() as u64, *chain));
                }
                _ => {}
            }
        }
        for c in ledger.conversations() {
            complete(&mut findings, ledger, &ends, c);
        }
        findings.verdict()
    }
}

/// Users who joined a conversation later and may not see its beginning.
fn late_readers(history: &History) -> crate::fast::Set<(u32, u32)> {
    let mut late = crate::fast::Set::default();
    for op in &history.ops {
        if let F::Members { c, add, .. } = &op.f {
            late.extend(add.iter().map(|u| (c.0, u.0)));
        }
    }
    late
}

fn agree(findings: &mut Findings, ledger: &Ledger, op: &Op, c: C, entry: &Entry) {
    let Some(slot) = ledger.at(c, entry.seq) else { return };
    let ops = [u64::from(slot.op), op.index];
    findings.hold(same(&slot.entry, entry), || {
        Violation::new("divergence: two observers saw different messages at one place", ops)
            .at(c, [entry.seq])
    });
    let chains = (slot.entry.chain, entry.chain);
    if chains.0 != 0 && chains.1 != 0 && chains.0 != chains.1 && same(&slot.entry, entry) {
        findings.violate(|| {
            Violation::new("chain-divergence: the same place has two chains", ops)
                .at(c, [entry.seq])
        });
    }
}

fn dense(findings: &mut Findings, op: &Op, c: C, after: u64, (entries, exact): (&[Entry], bool)) {
    let Some(first) = entries.first() else { return };
    let begins = if exact { first.seq == after + 1 } else { first.seq > after };
    findings.hold(begins, || {
        let what = "hole: a page does not begin after the place it was asked for";
        Violation::new(what, [op.index]).at(c, [after, first.seq])
    });
    for pair in entries.windows(2) {
        let (one, next) = (pair[0].seq, pair[1].seq);
        findings.hold(next == one + 1, || {
            let what = if next > one {
                "hole: a page leaves out a place"
            } else {
                "reorder: a page goes back"
            };
            Violation::new(what, [op.index]).at(c, [one, next])
        });
        let still = pair[0].chain != 0 && pair[0].chain == pair[1].chain;
        findings.hold(!still, || {
            let what = "chain-still: the chain does not cover a message";
            Violation::new(what, [op.index]).at(c, [one, next])
        });
    }
}

fn same_end(
    findings: &mut Findings,
    ends: &mut Map<u32, (u64, u64, u32)>,
    op: &Op,
    (c, last, chain): (C, u64, u64),
) {
    let (first_last, first_chain, first) =
        *ends.entry(c.0).or_insert((last, chain, op.index as u32));
    let ops = [u64::from(first), op.index];
    findings.hold(first_last == last, || {
        Violation::new("replicas-differ: two replicas end at different places", ops)
            .at(c, [first_last, last])
    });
    let known = first_chain != 0 && chain != 0 && first_last == last;
    findings.hold(!known || first_chain == chain, || {
        Violation::new("chain-divergence: two replicas have different chains", ops).at(c, [last])
    });
}

/// With a read-back, nothing that anybody saw lies beyond the end of it.
fn complete(findings: &mut Findings, ledger: &Ledger, ends: &Map<u32, (u64, u64, u32)>, c: C) {
    let Some((last, _, op)) = ends.get(&c.0) else { return };
    for slot in ledger.slots(c).skip_while(|slot| slot.entry.seq <= *last) {
        let ops = [u64::from(slot.op), u64::from(*op)];
        findings.hold(false, || {
            Violation::new("vanished: somebody saw a message that no replica has", ops)
                .at(c, [slot.entry.seq])
        });
    }
}
