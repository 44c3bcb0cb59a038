//! What happened in a run: one operation a line, in the shape that Jepsen's own tools read.
//!
//! In memory an operation is a small typed value and every name is a number, so that ten million of them are
//! judged in the memory of a laptop. Nothing here judges.

mod line;
mod names;
mod op;
mod recorder;

pub use line::{HistoryError, write_op};
pub use names::Interner;
pub use op::{C, Code, Conn, D, Entry, F, InboxLine, Kind, Level, NEMESIS, Op, Phase, U};
pub use recorder::Recorder;

/// No mate: an invocation that never returned, or a completion without invocation.
pub(crate) const NO_MATE: u32 = u32::MAX;

/// A whole run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Everything, in order of time.
    pub ops: Vec<Op>,
    /// What the numbers stand for.
    pub names: Interner,
    /// For each operation its other half, or [`NO_MATE`].
    mates: Vec<u32>,
}

impl History {
    /// A history of these operations: they are put in order of time, numbered, and paired.
    pub fn new(ops: Vec<Op>, names: Interner) -> History {
        let mut history = History { ops, names, mates: Vec::new() };
        history.settle();
        history
    }

    /// Joins another history with its own names, such as that of another recorder of the same run.
    pub fn merge(&mut self, other: History) {
        let renamed = self.names.absorb(&other.names);
        for mut op in other.ops {
            renamed.apply(&mut op.f);
            self.ops.push(op);
        }
        self.settle();
    }

    /// The other half of an operation: the completion of an invocation, or the invocation of a completion.
    pub fn mate(&self, op: &Op) -> Option<&Op> {
        match self.mates.get(op.index as usize) {
            Some(&mate) if mate != NO_MATE => Some(&self.ops[mate as usize]),
            _ => None,
        }
    }

    /// When the operation of which this is a completion was asked for; its own time if it is not known.
    pub fn invoked_at(&self, op: &Op) -> u64 {
        self.mate(op).map_or(op.time, |mate| mate.time.min(op.time))
    }

    fn settle(&mut self) {
        assert!(self.ops.len() < NO_MATE as usize, "a history has fewer than 2^32 operations");
        if !self.ops.is_sorted_by_key(|op| op.time) {
            self.ops.sort_by_key(|op| (op.time, op.index));
        }
        for (index, op) in self.ops.iter_mut().enumerate() {
            op.index = index as u64;
        }
        self.pair();
    }

    fn pair(&mut self) {
        self.mates = vec![NO_MATE; self.ops.len()];
        let mut open = std::collections::HashMap::<u32, u32>::new();
        for op in &self.ops {
            let at = op.index as u32;
            match op.kind {
                Kind::Invoke => {
                    open.insert(op.process, at);
                }
                _ if op.f.is_asked_for() => {
                    if let Some(invoked) = open.remove(&op.process) {
                        self.mates[invoked as usize] = at;
                        self.mates[at as usize] = invoked;
                    }
                }
                _ => {}
            }
        }
    }
}

/// The hash by which histories compare what messages say: FNV-1a over the message id, a zero byte and the text.
pub fn payload_hash(message_id: &str, text: &str) -> u64 {
    let bytes = message_id.bytes().chain(std::iter::once(0)).chain(text.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
