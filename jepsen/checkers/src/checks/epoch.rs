//! P11, the epochs of an encrypted conversation's keys are a compare-and-set: one commit each, none left out, a
//! refusal as stale only where another was first, and messages of the current epoch or the few before it.

use super::{Check, Facts};
use crate::fast::Map;
use crate::history::{C, F, History, Kind, Op};
use crate::verdict::{Findings, Verdict, Violation};

/// One commit for each epoch.
pub(super) struct Epoch;

/// Epochs before the current one that a message may still name.
const WINDOW: u64 = 2;

/// What is known of one epoch of one conversation.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    /// Hash and operation of the accepted commit.
    accepted: Option<(u64, u64)>,
    /// Commits of which nobody knows whether they were.
    unknown: bool,
    /// When the first commit to it was asked for that did not certainly fail.
    invoked: Option<u64>,
}

impl Check for Epoch {
    fn name(&self) -> &'static str {
        "epoch"
    }

    fn judge(&self, facts: &Facts<'_>) -> Verdict {
        let history = facts.history;
        let mut findings = Findings::default();
        let mut epochs = Map::<(u32, u64), Taken>::default();
        for op in &history.ops {
            if let F::Commit { c, epoch, h, .. } = op.f {
                commit(&mut findings, history, &mut epochs, op, (c, epoch, h));
            }
        }
        for op in &history.ops {
            if let F::Commit { c, epoch, stale, .. } = op.f {
                dense(&mut findings, &epochs, op, (c, epoch));
                if stale && op.kind == Kind::Fail {
                    honest(&mut findings, &epochs, op, (c, epoch));
                }
            }
        }
        sealed(&mut findings, history);
        findings.verdict()
    }
}

fn commit(
    findings: &mut Findings,
    history: &History,
    epochs: &mut Map<(u32, u64), Taken>,
    op: &Op,
    (c, epoch, h): (C, u64, u64),
) {
    let taken = epochs.entry((c.0, epoch)).or_default();
    let failed = |end: &Op| end.kind == Kind::Fail;
    match op.kind {
        Kind::Invoke if !history.mate(op).is_some_and(failed) => {
            taken.unknown |= history.mate(op).is_none_or(|end| end.kind == Kind::Info);
            taken.invoked = taken.invoked.or(Some(op.time));
        }
        Kind::Ok => {
            let first = *taken.accepted.get_or_insert((h, op.index));
            findings.hold(first.0 == h, || {
                let what = format!("two-commits: epoch {epoch} has two commits");
                Violation::new(what, [first.1, op.index]).at(c, [])
            });
        }
        _ => {}
    }
}

fn dense(findings: &mut Findings, epochs: &Map<(u32, u64), Taken>, op: &Op, (c, epoch): (C, u64)) {
    if op.kind != Kind::Ok || epoch == 0 {
        return;
    }
    let before = epochs.get(&(c.0, epoch - 1));
    findings.hold(before.is_some_and(|taken| taken.accepted.is_some() || taken.unknown), || {
        let what = format!("epoch-gap: epoch {epoch} has a commit and the one before it has none");
        Violation::new(what, [op.index]).at(c, [])
    });
}

fn honest(findings: &mut Findings, epochs: &Map<(u32, u64), Taken>, op: &Op, (c, epoch): (C, u64)) {
    let winner = epochs.get(&(c.0, epoch)).and_then(|taken| taken.invoked);
    findings.hold(winner.is_some_and(|invoked| invoked < op.time), || {
        let what =
            format!("false-stale: a commit to epoch {epoch} was refused though none was before it");
        Violation::new(what, [op.index]).at(c, [])
    });
}

/// Messages against the epochs that were current where they lie. Judged where every commit's place is known.
fn sealed(findings: &mut Findings, history: &History) {
    let mut places = Map::<u32, Option<Vec<u64>>>::default();
    for op in &history.ops {
        let F::Commit { c, at, .. } = op.f else { continue };
        let places = places.entry(c.0).or_insert_with(|| Some(Vec::new()));
        let unknown =
            op.kind == Kind::Info || (op.kind == Kind::Invoke && history.mate(op).is_none());
        match (op.kind, at) {
            (Kind::Ok, Some(at)) => places.iter_mut().for_each(|places| places.push(at)),
            (Kind::Ok, None) => *places = None,
            _ if unknown => *places = None,
            _ => {}
        }
    }
    places.values_mut().flatten().for_each(|places| places.sort_unstable());
    for op in &history.ops {
        let F::Sealed { c, seq, epoch } = op.f else { continue };
        let Some(Some(places)) = places.get(&c.0) else { continue };
        let current = places.partition_point(|at| *at < seq) as u64;
        findings.hold(epoch <= current && epoch + WINDOW >= current, || {
            let what =
                format!("wrong-epoch: a message names epoch {epoch} where {current} is current");
            Violation::new(what, [op.index]).at(c, [seq])
        });
    }
}
