//! The tape of one process: what it asked, was told and saw, with the machine's monotonic clock, so that tapes of several
//! processes can be laid side by side. It judges nothing.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use checkers::{C, Code, Conn, D, F, History, HistoryError, Kind, Recorder, U, write_op};

/// Nanoseconds of the machine's monotonic clock, the same for every process of this machine.
#[must_use]
pub fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let (seconds, nanos) = (u64::try_from(now.tv_sec), u64::try_from(now.tv_nsec));
    let never = "a monotonic clock is not negative";
    seconds.expect(never) * 1_000_000_000 + nanos.expect(never)
}

/// Who acts, where and over what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spot {
    /// The logical process: one operation at a time.
    pub process: u32,
    /// The node that is asked, counted from 1; 0 when it is not known.
    pub node: u8,
    /// Over which transport.
    pub conn: Conn,
}

/// A history that is being written.
#[derive(Debug)]
pub struct Tape {
    recorder: Recorder,
    processes: AtomicU32,
}

impl Tape {
    /// An empty tape whose logical processes are numbered from `first`.
    #[must_use]
    pub fn new(first: u32) -> Self {
        Self { recorder: Recorder::new(), processes: AtomicU32::new(first) }
    }

    /// A logical process that nobody was before.
    pub fn process(&self) -> u32 {
        self.processes.fetch_add(1, Ordering::Relaxed)
    }

    /// Notes one moment, now.
    pub fn note(&self, spot: Spot, kind: Kind, f: F) {
        self.recorder.note(now_ns(), spot.process, kind, (spot.node, spot.conn), f);
    }

    /// Notes something seen that nobody asked for, now.
    pub fn saw(&self, node: u8, conn: Conn, f: F) {
        self.recorder.note(now_ns(), 0, Kind::Ok, (node, conn), f);
    }

    /// The number of a conversation.
    pub fn conversation(&self, name: &str) -> C {
        self.recorder.conversation(name)
    }

    /// The number of a user's device.
    pub fn device(&self, user: &str, device: &str) -> D {
        self.recorder.device(user, device)
    }

    /// The number of an asset.
    pub fn asset(&self, id: &str) -> u32 {
        self.recorder.asset(id)
    }

    /// The number of a user.
    pub fn user(&self, name: &str) -> U {
        self.recorder.user(name)
    }

    /// The number of a problem's code.
    pub fn code(&self, name: &str) -> Code {
        self.recorder.code(name)
    }

    /// What it holds, for more than notes.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// All of it, in order of time.
    #[must_use]
    pub fn into_history(self) -> History {
        self.recorder.finish()
    }
}

/// A tape's file: what was noted since the last time is appended.
#[derive(Debug)]
pub struct Reel {
    file: BufWriter<File>,
}

impl Reel {
    /// A new file.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { file: BufWriter::with_capacity(1 << 20, File::create(path)?) })
    }

    /// Appends what `tape` noted since the last call.
    ///
    /// # Errors
    /// When the disk will not take it.
    pub fn append(&mut self, tape: &Tape) -> Result<(), HistoryError> {
        let (ops, names) = tape.recorder.drain();
        for op in &ops {
            write_op(&mut self.file, &names, op)?;
        }
        self.file.flush()?;
        Ok(())
    }
}
