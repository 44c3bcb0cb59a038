//! How far each conversation had certainly got at a moment: the highest sequence that anybody had been told of
//! before it. Whatever begins afterwards must come after.

use super::observations;
use crate::history::{C, F, History, Kind, Op};

/// The highest sequence told, by conversation, strictly before the present moment.
///
/// Feed it every operation in order of time. What is told at the same nanosecond counts as concurrent.
#[derive(Debug)]
pub(crate) struct Seen {
    marks: Vec<Mark>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    seq: u64,
    /// The operation that told it.
    op: u32,
    /// What was told at `time`, and holds only after it.
    fresh: (u64, u32),
    time: u64,
}

impl Seen {
    /// Nothing was told yet.
    pub(crate) fn new(history: &History) -> Seen {
        Seen { marks: vec![Mark::default(); history.names.conversations_len()] }
    }

    /// How far the conversation had got before this time, and the operation that told it.
    pub(crate) fn before(&mut self, c: C, time: u64) -> (u64, u32) {
        let Some(mark) = self.marks.get_mut(c.0 as usize) else { return (0, 0) };
        mark.settle(time);
        (mark.seq, mark.op)
    }

    /// Takes in what an operation tells.
    pub(crate) fn learn(&mut self, op: &Op) {
        let mut last: Option<(C, u64)> = None;
        for (c, entry) in observations(op) {
            last = Some((c, entry.seq.max(last.map_or(0, |(_, seq)| seq))));
        }
        if let F::Read { c, head: Some(head), .. } = &op.f
            && op.kind == Kind::Ok
        {
            last = Some((*c, (*head).max(last.map_or(0, |(_, seq)| seq))));
        }
        let Some((c, seq)) = last else { return };
        let Some(mark) = self.marks.get_mut(c.0 as usize) else { return };
        mark.settle(op.time);
        if seq > mark.fresh.0 {
            mark.fresh = (seq, op.index as u32);
            mark.time = op.time;
        }
    }
}

impl Mark {
    fn settle(&mut self, now: u64) {
        if self.time < now {
            if self.fresh.0 > self.seq {
                (self.seq, self.op) = self.fresh;
            }
            self.fresh = (0, 0);
            self.time = now;
        }
    }
}
