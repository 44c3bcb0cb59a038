//! Every message that a device tried to send, with all that came of its tries.
//!
//! A message is known by its device, conversation and order, and by its hash when it has no order. Two payloads
//! under one order are two messages, of which at most one may ever be stored.

use super::{Seen, Streams};
use crate::fast::Map;
use crate::history::{C, D, Entry, F, History, Kind, Op};

/// No such attempt.
const NONE: u32 = u32::MAX;

/// One message and what came of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    /// Hash of it.
    pub(crate) h: u64,
    /// Index of the first invocation.
    pub(crate) op: u32,
    /// Tries that did not certainly fail, finished or not.
    pub(crate) open: u32,
    /// The place it was told, and by which operation; 0 while none.
    pub(crate) acked: (u64, u32),
    /// When it was first asked for.
    pub(crate) invoked: u64,
    /// How far the conversation had got before that, and who told.
    pub(crate) floor: (u64, u32),
    /// Another message under the same order.
    next: u32,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    pub(crate) streams: Streams,
    arena: Vec<Attempt>,
    by_order: Vec<Vec<u32>>,
    by_hash: Map<(u32, u64), u32>,
    far: Map<(u32, u64), u32>,
}

/// Orders up to here are kept in a row; sparse ones beyond, in a map.
const ROW_MAX: u64 = 1 << 22;

impl Attempts {
    /// Gathers all sends of a history.
    pub(crate) fn of(history: &History) -> Attempts {
        let mut attempts = Attempts::default();
        let mut seen = Seen::new(history);
        for op in &history.ops {
            if let F::Send { c, d, k, h, seq, .. } = op.f {
                let stream = attempts.streams.number(c, d);
                if op.kind == Kind::Invoke {
                    let floor = seen.before(c, op.time);
                    attempts.invoke(stream, (k, h), op, floor);
                } else if let Some(at) = attempts.index(stream, k, h) {
                    let attempt = &mut attempts.arena[at as usize];
                    match op.kind {
                        Kind::Ok if attempt.acked.0 == 0 => attempt.acked = (seq, op.index as u32),
                        Kind::Fail => attempt.open = attempt.open.saturating_sub(1),
                        _ => {}
                    }
                }
            }
            seen.learn(op);
        }
        attempts
    }

    fn invoke(&mut self, stream: usize, (k, h): (u64, u64), op: &Op, floor: (u64, u32)) {
        if let Some(at) = self.index(stream, k, h) {
            self.arena[at as usize].open += 1;
            return;
        }
        let at = self.arena.len() as u32;
        let first = self.link(stream, (k, h), at);
        let attempt = Attempt {
            h,
            op: op.index as u32,
            open: 1,
            acked: (0, 0),
            invoked: op.time,
            floor,
            next: first,
        };
        self.arena.push(attempt);
    }

    /// Puts an attempt at the head of its order and gives the one that was there.
    fn link(&mut self, stream: usize, (k, h): (u64, u64), at: u32) -> u32 {
        if k == 0 {
            self.by_hash.insert((stream as u32, h), at);
            return NONE;
        }
        if k > ROW_MAX {
            return self.far.insert((stream as u32, k), at).unwrap_or(NONE);
        }
        if self.by_order.len() <= stream {
            self.by_order.resize(stream + 1, Vec::new());
        }
        let row = &mut self.by_order[stream];
        let place = (k - 1) as usize;
        if row.len() <= place {
            row.resize(place + 1, NONE);
        }
        std::mem::replace(&mut row[place], at)
    }

    fn first(&self, stream: usize, k: u64) -> u32 {
        if k > ROW_MAX {
            return self.far.get(&(stream as u32, k)).copied().unwrap_or(NONE);
        }
        let row = self.by_order.get(stream);
        row.and_then(|row| row.get((k.wrapping_sub(1)) as usize)).copied().unwrap_or(NONE)
    }

    fn index(&self, stream: usize, k: u64, h: u64) -> Option<u32> {
        let mut at = self.first(stream, k);
        while at != NONE {
            let attempt = &self.arena[at as usize];
            if attempt.h == h {
                return Some(at);
            }
            at = attempt.next;
        }
        self.by_hash.get(&(stream as u32, h)).copied()
    }

    /// The attempt that an entry came from, with its number.
    pub(crate) fn behind(&self, c: C, entry: &Entry) -> Option<(u32, &Attempt)> {
        let at = self.index(self.streams.find(c, entry.from)?, entry.k, entry.h)?;
        Some((at, &self.arena[at as usize]))
    }

    /// Whether the device tried something else under this order.
    pub(crate) fn other_under(&self, c: C, from: D, k: u64) -> Option<&Attempt> {
        let at = self.first(self.streams.find(c, from)?, k);
        self.arena.get(at as usize)
    }

    /// The attempt of this number.
    pub(crate) fn get(&self, at: u32) -> &Attempt {
        &self.arena[at as usize]
    }

    /// All of them, each with its number.
    pub(crate) fn all(&self) -> impl Iterator<Item = (u32, &Attempt)> {
        (0..).zip(&self.arena)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.arena.len()
    }
}
