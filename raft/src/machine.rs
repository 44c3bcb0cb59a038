//! The port to the replicated machine: what a shard must be able to do to be driven by a log. The
//! machine decides and persists; this room only says in which order and from where.

use bytes::Bytes;

use crate::Fatal;

/// A place in a group's log. `(term, node)` names the leader that wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The term of the leader that proposed the entry.
    pub term: u64,
    /// The node that led in that term.
    pub node: u64,
    /// Dense from 0; entry 0 is the group's first membership.
    pub index: u64,
}

/// How far a machine has got, kept by the machine in the same atomic batch as the effects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppliedState {
    /// The last applied entry; `None` before the first.
    pub position: Option<Position>,
    /// The membership in force there, in this room's encoding. Opaque; empty = none yet.
    pub membership: Bytes,
}

/// What a committed entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// The bytes of a `proto::log::Entry`: commands for the machine.
    Entry(Bytes),
    /// A change of the group's membership; the machine only records it as applied.
    Membership(Bytes),
    /// A new leader's first entry; says nothing.
    Blank,
}

/// One committed entry on its way into the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedEntry {
    /// Where it stands. Entries arrive in order, without holes.
    pub position: Position,
    /// What it says.
    pub payload: Payload,
    /// To be recorded as [`AppliedState::membership`] together with this entry.
    pub applied_membership: Bytes,
    /// Somebody here waits for the outcomes of this entry.
    pub wants_outcomes: bool,
}

/// A replicated machine. It is driven by one thread and may block on its own tables.
pub trait Machine: Send + 'static {
    /// How far it has got. After a restart: what survived.
    ///
    /// # Errors
    /// Only when the tables cannot be read.
    fn applied(&self) -> Result<AppliedState, Fatal>;

    /// Applies entries in order and persists all effects together with the applied state of the
    /// last one in one atomic batch. Answers one list for each entry, in order: one outcome for each
    /// command of an entry that wants outcomes, else an empty list.
    ///
    /// # Errors
    /// Only when determinism or the disk is broken; the process stops.
    fn apply(&mut self, entries: Vec<CommittedEntry>) -> Result<Vec<Vec<Bytes>>, Fatal>;

    /// When it returns, everything applied so far is on stable storage.
    ///
    /// # Errors
    /// Only when the disk is broken.
    fn flush(&mut self) -> Result<(), Fatal>;

    /// A consistent view of the whole state at the applied position, for a snapshot.
    ///
    /// # Errors
    /// Only when the tables cannot be read.
    fn view(&self) -> Result<Box<dyn Rows>, Fatal>;

    /// Begins to receive a foreign state. Drops what an earlier, unfinished installation staged.
    ///
    /// # Errors
    /// Only when the disk is broken.
    fn begin_install(&mut self) -> Result<(), Fatal>;

    /// Keeps rows aside; the visible state does not change. Rows arrive in key order.
    ///
    /// # Errors
    /// Only when the disk is broken.
    fn stage(&mut self, rows: Vec<(Bytes, Bytes)>) -> Result<(), Fatal>;

    /// The staged rows become the state, atomically and durably (a crash rolls forward or leaves the
    /// old state), together with `applied`.
    ///
    /// # Errors
    /// Only when the disk is broken.
    fn install(&mut self, applied: AppliedState) -> Result<(), Fatal>;

    /// This replica begins or ceases to lead. A hint for work that only a leader does.
    fn leading(&mut self, is_leader: bool, term: u64);
}

/// The rows of a consistent view, read lazily in key order.
pub trait Rows: Send + 'static {
    /// The next rows, about `bytes_max` bytes and at least one row; `None` after the last.
    ///
    /// # Errors
    /// Only when the tables cannot be read.
    fn next_chunk(&mut self, bytes_max: usize) -> Result<Option<Vec<(Bytes, Bytes)>>, Fatal>;
}
