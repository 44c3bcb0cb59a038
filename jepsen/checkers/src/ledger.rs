//! What every place of every conversation holds, as its first witness told it. Who disagrees is the check
//! `prefix`'s business; the other checks ask here what a sequence is.

use crate::fast::Map;
use crate::history::{C, D, Entry, F, History, Kind, Op};

mod attempts;
mod roster;
mod seen;

pub(crate) use attempts::Attempts;
pub(crate) use roster::Rosters;
pub(crate) use seen::Seen;

/// A place and who first told of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub(crate) entry: Entry,
    /// Index of the first operation that told it.
    pub(crate) op: u32,
}

/// All places of all conversations, by conversation and sequence.
#[derive(Debug)]
pub(crate) struct Ledger {
    logs: Vec<Vec<Option<Slot>>>,
    seq_max: u64,
    /// Observations at places that cannot be, with the operation.
    pub(crate) beyond: Vec<(C, u64, u32)>,
}

impl Ledger {
    /// Gathers what every witness told.
    pub(crate) fn of(history: &History) -> Ledger {
        let told: usize = history.ops.iter().map(|op| observations(op).count()).sum();
        let mut ledger = Ledger {
            logs: vec![Vec::new(); history.names.conversations_len()],
            seq_max: told as u64,
            beyond: Vec::new(),
        };
        for op in &history.ops {
            for (c, entry) in observations(op) {
                ledger.learn(c, entry, op.index as u32);
            }
        }
        ledger
    }

    fn learn(&mut self, c: C, entry: Entry, op: u32) {
        // Every place up to an honest sequence was told of at least once in a whole history; four times as
        // much leaves room for histories that begin late, and none for a sequence that fills the memory.
        if entry.seq == 0 || entry.seq > self.seq_max.saturating_mul(4).saturating_add(1024) {
            self.beyond.push((c, entry.seq, op));
            return;
        }
        let Some(log) = self.logs.get_mut(c.0 as usize) else { return };
        let at = (entry.seq - 1) as usize;
        if log.len() <= at {
            log.resize(at + 1, None);
        }
        match &mut log[at] {
            Some(slot) if slot.entry.chain == 0 && same(&slot.entry, &entry) => {
                slot.entry.chain = entry.chain
            }
            Some(_) => {}
            empty @ None => *empty = Some(Slot { entry, op }),
        }
    }

    /// What a place holds, if anybody told.
    pub(crate) fn at(&self, c: C, seq: u64) -> Option<&Slot> {
        let log = self.logs.get(c.0 as usize)?;
        log.get(usize::try_from(seq.checked_sub(1)?).ok()?)?.as_ref()
    }

    /// The last place that anybody told of; 0 for none.
    pub(crate) fn last(&self, c: C) -> u64 {
        self.logs.get(c.0 as usize).map_or(0, |log| log.len() as u64)
    }

    /// The places of a conversation that somebody told of, ascending.
    pub(crate) fn slots(&self, c: C) -> impl Iterator<Item = &Slot> {
        self.logs.get(c.0 as usize).into_iter().flatten().flatten()
    }

    /// All conversations.
    pub(crate) fn conversations(&self) -> impl Iterator<Item = C> + use<> {
        (0..self.logs.len() as u32).map(C)
    }
}

/// Whether two witnesses tell of the same message, the chain aside.
pub(crate) fn same(one: &Entry, other: &Entry) -> bool {
    one.from == other.from && one.h == other.h && (one.k == other.k || one.k == 0 || other.k == 0)
}

/// What an operation tells about places of conversations.
pub(crate) fn observations(op: &Op) -> impl Iterator<Item = (C, Entry)> + '_ {
    let (c, one, many): (C, Option<Entry>, &[Entry]) = match &op.f {
        F::Send { c, d, k, h, seq, .. } if op.kind == Kind::Ok && *seq != 0 => {
            (*c, Some(Entry { seq: *seq, from: *d, k: *k, h: *h, chain: 0, at: 0 }), &[])
        }
        F::Deliver { c, seq, from, k, h, chain, .. } => {
            (*c, Some(Entry { seq: *seq, from: *from, k: *k, h: *h, chain: *chain, at: 0 }), &[])
        }
        F::Read { c, entries, .. } if op.kind == Kind::Ok => (*c, None, entries),
        F::Final { c, entries, .. } => (*c, None, entries),
        _ => (C(0), None, &[]),
    };
    one.into_iter().chain(many.iter().copied()).map(move |entry| (c, entry))
}

/// Numbers for the pairs of a conversation and a device that a history has.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    numbers: Map<(u32, u32), u32>,
    pairs: Vec<(C, D)>,
}

impl Streams {
    /// The number of a pair, given now if need be.
    pub(crate) fn number(&mut self, c: C, d: D) -> usize {
        let next = self.pairs.len() as u32;
        let number = *self.numbers.entry((c.0, d.0)).or_insert(next);
        if number == next {
            self.pairs.push((c, d));
        }
        number as usize
    }

    /// The number of a pair, if it has one.
    pub(crate) fn find(&self, c: C, d: D) -> Option<usize> {
        self.numbers.get(&(c.0, d.0)).map(|number| *number as usize)
    }

    /// The pair of a number.
    pub(crate) fn pair(&self, number: usize) -> (C, D) {
        self.pairs[number]
    }

    /// How many pairs there are.
    pub(crate) fn len(&self) -> usize {
        self.pairs.len()
    }
}
