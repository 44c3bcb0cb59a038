//! Tables: the applied state of every shard of this node, as rows of bytes in key order.
//!
//! Station 7 (drive) writes here and everything that reads applied state reads here. The law: a
//! batch is atomic and visible when [`Tables::write`] returns, but it is durable only after the next
//! [`Tables::flush`]; a crash may take back unflushed batches, always the newest first and always
//! whole. So the log may be purged only up to an index that was applied before a finished flush.
//!
//! One trait, three engines that pass one conformance suite and one crash suite. What a row means,
//! which shard owns it and when to flush are decided by others.

mod before;
mod buffered;
mod fjall;
mod marker;
mod memory;
mod open;
mod sled;

use std::fmt;
use std::str::FromStr;

use bytes::{Bytes, BytesMut};

pub use self::memory::MemoryTables;
pub use self::open::{TablesOptions, is_open_elsewhere, open_as_they_lie, open_tables};
use crate::StoreError;

/// The longest key: the longest key kind holds a conversation id, a message id and a device id,
/// about 170 bytes, so there is room for six times that.
pub const KEY_BYTES_MAX: usize = 1024;

/// The longest value. A message row is at most about 100 KiB; one of many MiB is a mistake.
pub const VALUE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A row: key and value.
pub type Row = (Bytes, Bytes);

/// Keys from `start` (inclusive) to `end` (exclusive), in byte order. Empty when `start >= end`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// The first key that belongs to the range.
    pub start: Bytes,
    /// The first key after it that does not.
    pub end: Bytes,
}

impl KeyRange {
    /// The keys `start <= key < end`.
    pub fn new(start: impl Into<Bytes>, end: impl Into<Bytes>) -> Self {
        Self { start: start.into(), end: end.into() }
    }

    /// Whether `key` lies in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.start.as_ref() <= key && key < self.end.as_ref()
    }

    /// Whether no key can lie in the range.
    pub fn is_empty(&self) -> bool {
        self.start >= self.end
    }
}

/// Which way a scan walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the smallest key up.
    Ascending,
    /// From the largest key down.
    Descending,
}

/// Changes that take effect together or not at all, in the order given: a later change of the same
/// key wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    changes: Vec<Change>,
}

/// One change of one row: `value` is `None` for a delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The row's key, 1 to [`KEY_BYTES_MAX`] bytes.
    pub key: Bytes,
    /// The new value, or `None` when the row goes away. An empty value is a row like any other.
    pub value: Option<Bytes>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty batch with room for `rows` changes.
    pub fn with_capacity(rows: usize) -> Self {
        Self { changes: Vec::with_capacity(rows) }
    }

    /// Writes a row, over an older one of that key.
    pub fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.changes.push(Change { key: key.into(), value: Some(value.into()) });
    }

    /// Removes a row, if there is one.
    pub fn delete(&mut self, key: impl Into<Bytes>) {
        self.changes.push(Change { key: key.into(), value: None });
    }

    /// The changes, in order.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// The changes, in order, given away.
    pub fn into_changes(self) -> Vec<Change> {
        self.changes
    }

    /// How many changes there are.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// Rows in key order. Shared by all shards of a node: reads from any thread, writes from several.
pub trait Tables: Send + Sync + 'static {
    /// The value under `key`.
    ///
    /// # Errors
    /// Only fatal ones: the disk failed or the files are damaged.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// Up to `rows_max` rows of `range`, beginning at the end that `direction` names. The rows are
    /// those of one moment: no batch is seen in part.
    ///
    /// # Errors
    /// As [`Tables::get`].
    fn scan(
        &self,
        range: KeyRange,
        direction: Direction,
        rows_max: usize,
    ) -> Result<Vec<Row>, StoreError>;

    /// Applies `batch` atomically. Visible to every reader on return; durable only after a flush.
    /// Batches reach the disk in the order of the calls.
    ///
    /// # Errors
    /// Fatal ones, after which the tables refuse every further write ([`StoreError::Poisoned`]).
    ///
    /// # Panics
    /// If a key is empty or longer than [`KEY_BYTES_MAX`], or a value longer than
    /// [`VALUE_BYTES_MAX`]: callers check what comes from outside before it becomes a row.
    fn write(&self, batch: Batch) -> Result<(), StoreError>;

    /// A barrier: when it returns, every batch whose write returned before the call is on stable
    /// storage.
    ///
    /// # Errors
    /// Fatal ones. A failed flush is never tried again: nobody knows what the disk holds.
    fn flush(&self) -> Result<(), StoreError>;

    /// The rows of `range` as they are now, read lazily in ascending order while others write on.
    ///
    /// # Errors
    /// As [`Tables::get`].
    fn view(&self, range: KeyRange) -> Result<Box<dyn RowView>, StoreError>;
}

/// A consistent view of a key range: what it shows is the state at the moment it was taken.
pub trait RowView: Send {
    /// The next row in ascending key order, or `None` after the last.
    ///
    /// # Errors
    /// As [`Tables::get`].
    fn next(&mut self) -> Result<Option<Row>, StoreError>;
}

impl<T: Tables + ?Sized> Tables for std::sync::Arc<T> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        (**self).get(key)
    }

    fn scan(
        &self,
        range: KeyRange,
        direction: Direction,
        rows_max: usize,
    ) -> Result<Vec<Row>, StoreError> {
        (**self).scan(range, direction, rows_max)
    }

    fn write(&self, batch: Batch) -> Result<(), StoreError> {
        (**self).write(batch)
    }

    fn flush(&self) -> Result<(), StoreError> {
        (**self).flush()
    }

    fn view(&self, range: KeyRange) -> Result<Box<dyn RowView>, StoreError> {
        (**self).view(range)
    }
}

/// Which library keeps the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// Log-structured merge tree: the default.
    #[default]
    Fjall,
    /// Selectable, at a price: more CPU for a row, and a loss of power may cost the node its copy.
    Sled,
    /// Nothing survives the process: tests and simulation.
    Memory,
}

impl Engine {
    /// All engines, for suites that must hold over each.
    pub const ALL: [Self; 3] = [Self::Fjall, Self::Sled, Self::Memory];

    /// The name used in configuration and in the marker file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fjall => "fjall",
            Self::Sled => "sled",
            Self::Memory => "memory",
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Engine {
    type Err = UnknownEngine;

    fn from_str(name: &str) -> Result<Self, UnknownEngine> {
        Self::ALL
            .into_iter()
            .find(|engine| engine.name() == name)
            .ok_or_else(|| UnknownEngine(name.to_owned()))
    }
}

/// A name that is no engine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no storage engine is called {0:?}; there are fjall, sled and memory")]
pub struct UnknownEngine(pub String);

/// Asserts the bounds that [`Tables::write`] states; every engine calls it first.
pub(crate) fn assert_bounds(batch: &Batch) {
    for change in &batch.changes {
        assert!(!change.key.is_empty(), "a row needs a key");
        assert!(change.key.len() <= KEY_BYTES_MAX, "key of {} bytes", change.key.len());
        let bytes = change.value.as_ref().map_or(0, Bytes::len);
        assert!(bytes <= VALUE_BYTES_MAX, "value of {bytes} bytes");
    }
}

/// The smallest key greater than `key`.
pub(crate) fn just_after(key: &[u8]) -> Bytes {
    let mut next = BytesMut::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.extend_from_slice(&[0]);
    next.freeze()
}
