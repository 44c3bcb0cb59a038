//! Durable bytes without meaning: the journal (the shared Raft log of a node) and the tables
//! (state).
//!
//! Station 6 of a message's path. Nothing here knows what a conversation, a vote or a membership
//! is: the journal keeps records in order and says when they are on stable storage; the tables keep
//! rows. The rooms above give the bytes their meaning.
//!
//! * [`Disk`] is the port to files: [`FsDisk`] is the real one, [`MemoryDisk`] the one that can
//!   lose power.
//! * [`Journal`] writes the records of all groups of one node with one writer and one barrier per
//!   batch.
//! * [`Blobs`] are large strings of bytes in files of their own.
//! * [`tables`] keeps rows behind one trait with several engines; [`seal`] encrypts values and
//!   records at rest.

#![forbid(unsafe_code)]

pub mod blobs;
pub mod disk;
#[doc(hidden)]
pub mod doors;
pub mod error;
mod figures;
pub mod journal;
pub mod seal;
pub mod tables;

pub use blobs::{Blob, Blobs, Folders, FsFolders, OneFolder};
pub use disk::{Disk, FsDisk, MemoryDisk, Pace};
pub use error::{Certainty, Retry, StoreError};
pub use journal::{
    Done, GroupLog, GroupSeen, GroupState, Journal, JournalConfig, JournalSeen, JournalStats,
    LogPosition, LogRecord, RecordSeal, Scrub,
};
pub use seal::{Entropy, KeyId, NodeKey, Sealed, Sealer, SystemEntropy};
pub use tables::{
    Batch, Direction, Engine, KeyRange, MemoryTables, Row, RowView, Tables, TablesOptions,
    open_tables,
};
