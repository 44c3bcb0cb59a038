//! A second judge that trusts no sequence: it searches for an order of the operations of one conversation that is true
//! to real time and is a run of one log (Wing and Gong's search with Lowe's memory of what was tried).
//!
//! Exponential at worst, so it looks at a sample of small conversations and gives up after so many steps; what it gave
//! up on counts as not judged. Unknown sends may take effect at any later time, or never.

use crate::fast::{Map, Set};
use crate::history::{C, F, History, Kind, Level};
use crate::judge::{Check, Facts};
use crate::ledger::Attempts;
use crate::verdict::{Findings, Verdict, Violation};

/// Operations of a conversation that is searched.
pub const SEARCH_OPS_MAX: usize = 256;
/// Conversations that are searched.
const SAMPLE_MAX: usize = 200;
/// Steps after which the search of one conversation is given up.
const STEPS_MAX: u64 = 200_000;

/// The search over sampled conversations.
pub struct Search;

/// What a deed asked for and was told.
enum Claim {
    /// This message, at this place; 0: not told.
    Append { message: u32, seq: u64 },
    /// Messages after a place, and the end.
    Read { after: usize, saw: Vec<u32>, end: Option<usize> },
}

struct Deed {
    begun: u64,
    /// Never, if nobody knows whether it was.
    ended: u64,
    claim: Claim,
    op: u64,
}

impl Check for Search {
    fn name(&self) -> &'static str {
        "search"
    }

    fn judge(&self, facts: &Facts<'_>) -> Verdict {
        let mut findings = Findings::default();
        for (c, deeds) in sample(facts.history, &facts.attempts) {
            let mut world =
                World { deeds: &deeds, log: Vec::new(), tried: Set::default(), steps: 0 };
            match world.go(&mut vec![false; deeds.len()]) {
                Some(found) => findings.hold(found, || {
                    let what = "not-linearizable: no order of these operations is a run of one log";
                    Violation::new(what, deeds.iter().map(|deed| deed.op)).at(C(c), [])
                }),
                None => continue,
            }
        }
        findings.verdict()
    }
}

/// The deeds of conversations that are small enough, the first so many of them by a mixed order.
fn sample(history: &History, attempts: &Attempts) -> Vec<(u32, Vec<Deed>)> {
    let mut all = Map::<u32, Vec<Deed>>::default();
    for (message, attempt) in attempts.all().filter(|(_, attempt)| attempt.open > 0) {
        let F::Send { c, .. } = history.ops[attempt.op as usize].f else { continue };
        let (seq, by) = attempt.acked;
        let ended = if seq == 0 { u64::MAX } else { history.ops[by as usize].time };
        let (claim, op) = (Claim::Append { message, seq }, u64::from(attempt.op));
        all.entry(c.0).or_default().push(Deed { begun: attempt.invoked, ended, claim, op });
    }
    for op in history.ops.iter().filter(|op| op.kind == Kind::Ok) {
        let F::Read { c, level: Level::Linearizable, after, entries, head, .. } = &op.f else {
            continue;
        };
        let number = |entry| attempts.behind(*c, entry).map_or(u32::MAX, |(at, _)| at);
        let saw = entries.iter().map(number).collect();
        let first = entries.first().map_or(*after, |entry| entry.seq.saturating_sub(1));
        let (Ok(after), begun) = (usize::try_from(first), history.invoked_at(op)) else {
            continue;
        };
        let claim =
            Claim::Read { after, saw, end: head.and_then(|head| usize::try_from(head).ok()) };
        all.entry(c.0).or_default().push(Deed { begun, ended: op.time, claim, op: op.index });
    }
    let mut sample: Vec<_> =
        all.into_iter().filter(|(_, deeds)| deeds.len() <= SEARCH_OPS_MAX).collect();
    sample.sort_by_key(|(c, _)| (c.wrapping_mul(0x9e37_79b9), *c));
    sample.truncate(SAMPLE_MAX);
    sample.iter_mut().for_each(|(_, deeds)| deeds.sort_by_key(|deed| (deed.begun, deed.op)));
    sample
}

struct World<'d> {
    deeds: &'d [Deed],
    log: Vec<u32>,
    /// Which deeds were done with which log, and led nowhere.
    tried: Set<(u64, u64)>,
    steps: u64,
}

impl World<'_> {
    /// Whether the rest can be ordered; nothing when the search was given up.
    fn go(&mut self, done: &mut Vec<bool>) -> Option<bool> {
        let open =
            |done: &[bool]| -> Vec<usize> { (0..done.len()).filter(|at| !done[*at]).collect() };
        let rest = open(done);
        let first_end = rest.iter().map(|at| self.deeds[*at].ended).min().unwrap_or(u64::MAX);
        if first_end == u64::MAX {
            return Some(true); // Only unknown ones are left, and they need not have been.
        }
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return None;
        }
        if !self.tried.insert(self.place(done)) {
            return Some(false);
        }
        for at in rest.into_iter().filter(|at| self.deeds[*at].begun <= first_end) {
            let Some(grown) = self.fits(at) else { continue };
            done[at] = true;
            self.log.extend(grown);
            let found = self.go(done)?;
            if grown.is_some() {
                self.log.pop();
            }
            done[at] = false;
            if found {
                return Some(true);
            }
        }
        Some(false)
    }

    /// The message that the log would grow by, if this deed may be next.
    fn fits(&self, at: usize) -> Option<Option<u32>> {
        match &self.deeds[at].claim {
            Claim::Append { message, seq } => {
                (*seq == 0 || *seq == self.log.len() as u64 + 1).then_some(Some(*message))
            }
            Claim::Read { after, saw, end } => {
                let seen = self.log.get(*after..).unwrap_or_default();
                let all = end.is_none_or(|end| end == self.log.len());
                (all && seen.starts_with(saw)).then_some(None)
            }
        }
    }

    /// Two independent hashes of what was done and of the log.
    fn place(&self, done: &[bool]) -> (u64, u64) {
        let mix = |hash: u64, word: u64, by: u64| (hash.rotate_left(23) ^ word).wrapping_mul(by);
        let words = done
            .iter()
            .map(|flag| u64::from(*flag))
            .chain(self.log.iter().map(|m| u64::from(*m) + 2));
        words.fold((1, 2), |(one, two), word| {
            (mix(one, word, 0x9e37_79b9_7f4a_7c15), mix(two, word, 0xc2b2_ae3d_27d4_eb4f))
        })
    }
}
