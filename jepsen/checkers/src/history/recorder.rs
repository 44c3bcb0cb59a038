//! Writes a run down as it happens. Takes the time as an argument, so that a simulation has its own.

use super::{C, Code, Conn, D, F, History, Interner, Kind, NEMESIS, Op, Phase, U};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A history that is still being written, by many at once.
///
/// The order that judges trust is that of `time`: take it before a request leaves and after an answer came.
#[derive(Debug, Default)]
pub struct Recorder {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    ops: Vec<Op>,
    names: Interner,
    next: u64,
}

impl Recorder {
    /// Nothing has happened yet.
    pub fn new() -> Recorder {
        Recorder::default()
    }

    /// Writes down one moment and gives its index.
    pub fn note(&self, time: u64, process: u32, kind: Kind, (node, conn): (u8, Conn), f: F) -> u64 {
        let mut inner = self.lock();
        let index = inner.next;
        inner.next += 1;
        inner.ops.push(Op { index, time, process, kind, node, conn, f });
        index
    }

    /// Writes down something seen that nobody asked for.
    pub fn saw(&self, time: u64, node: u8, f: F) -> u64 {
        self.note(time, 0, Kind::Ok, (node, Conn::None), f)
    }

    /// Writes down a phase of a fault.
    pub fn fault(
        &self,
        time: u64,
        name: &str,
        detail: &str,
        phase: Phase,
        keeps_quorum: bool,
    ) -> u64 {
        let f = F::Fault { name: name.to_owned(), detail: detail.to_owned(), phase, keeps_quorum };
        self.note(time, NEMESIS, Kind::Info, (0, Conn::None), f)
    }

    /// The number of a conversation.
    pub fn conversation(&self, name: &str) -> C {
        self.lock().names.conversation(name)
    }

    /// The number of a user's device.
    pub fn device(&self, user: &str, device: &str) -> D {
        self.lock().names.device(user, device)
    }

    /// The number of a user.
    pub fn user(&self, name: &str) -> U {
        self.lock().names.user(name)
    }

    /// The number of an asset.
    pub fn asset(&self, id: &str) -> u32 {
        self.lock().names.asset(id)
    }

    /// The number of a problem's code.
    pub fn code(&self, name: &str) -> Code {
        self.lock().names.code(name)
    }

    /// Gives what was written since the last call, for a file; the history keeps none of it.
    pub fn drain(&self) -> (Vec<Op>, Interner) {
        let mut inner = self.lock();
        (std::mem::take(&mut inner.ops), inner.names.clone())
    }

    /// Everything so far, in order of time.
    pub fn snapshot(&self) -> History {
        let inner = self.lock();
        History::new(inner.ops.clone(), inner.names.clone())
    }

    /// Everything, in order of time.
    pub fn finish(self) -> History {
        let inner = self.inner.into_inner().unwrap_or_else(PoisonError::into_inner);
        History::new(inner.ops, inner.names)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
