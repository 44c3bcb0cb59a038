//! The fjall engine: a log-structured merge tree, the default.
//!
//! One database and one keyspace for the node, so one journal and one barrier. A write goes to the
//! library's journal buffer and its memtable without a system call of its own; `persist(SyncData)`
//! is the barrier. Memtables are sealed between batches, so what a crash leaves is a prefix of
//! batches. The library refuses all writes after a failed one, as it must.
//!
//! Reads never ask the library for "now". A keyspace's own reads see batches that are still being
//! applied, row by row, and so does a snapshot that is taken while a batch is applied and a memtable
//! is written out in the background: that raises the visible sequence past the batch. So writers
//! take turns, and each takes the snapshot that everyone reads from, when no batch is under way.

use std::io::ErrorKind;
use std::sync::Arc;

use ::fjall::{
    Database, Iter, Keyspace, KeyspaceCreateOptions, PersistMode, Readable, Slice, Snapshot,
};
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use super::marker::Folder;
use super::{Batch, Direction, KeyRange, Row, RowView, Tables, TablesOptions, assert_bounds};
use crate::StoreError;

/// The one keyspace. Its name is part of the format.
const KEYSPACE: &str = "rows";

/// What the library's journals may hold before memtables are written out: bounds the time of a
/// reopen, and is the smallest value that the library takes.
const JOURNALS_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Threads that write out memtables and merge tables. With a second one, the library's first hands every merge back
/// to the queue it just took it from until the second is free: measured, an eighth of a loaded node's CPU.
const WORKERS: usize = 1;

/// Open files of tables kept at hand.
const OPEN_FILES_MAX: usize = 256;

/// Rows in a fjall database.
pub(super) struct FjallTables {
    inner: Arc<Inner>,
}

/// Fields drop in this order: the database closes before the folder is unlocked.
struct Inner {
    /// Everything that was written, nothing that is being written: what readers read from.
    written: RwLock<Arc<Snapshot>>,
    /// Held while a batch is applied, until `written` shows it.
    turn: Mutex<()>,
    rows: Keyspace,
    database: Database,
    folder: Folder,
}

impl FjallTables {
    /// Opens or makes the database in `folder`.
    pub(super) fn open(folder: Folder, options: &TablesOptions) -> Result<Self, StoreError> {
        let opened = (|| {
            let database = Database::builder(folder.data())
                .cache_size(options.cache_bytes)
                .max_journaling_size(JOURNALS_BYTES_MAX)
                .worker_threads(WORKERS)
                .max_cached_files(Some(OPEN_FILES_MAX))
                .open()?;
            let memtable = options.memtable_bytes;
            let rows = database.keyspace(KEYSPACE, || {
                KeyspaceCreateOptions::default()
                    .max_memtable_size(memtable)
                    .manual_journal_persist(true)
            })?;
            database.persist(PersistMode::SyncAll)?;
            Ok((database, rows))
        })();
        let (database, rows) = opened.map_err(|error| failure(&folder, error))?;
        folder.sync()?;
        let written = RwLock::new(Arc::new(database.snapshot()));
        Ok(Self {
            inner: Arc::new(Inner { written, turn: Mutex::new(()), rows, database, folder }),
        })
    }
}

impl Inner {
    fn written(&self) -> Arc<Snapshot> {
        Arc::clone(&self.written.read())
    }

    /// Shows readers all that was written. The caller has the turn, so no batch is under way.
    fn show(&self) {
        let now = Arc::new(self.database.snapshot());
        let before = std::mem::replace(&mut *self.written.write(), now);
        drop(before);
    }

    fn failed(&self, error: ::fjall::Error) -> StoreError {
        failure(&self.folder, error)
    }
}

/// What the library says, in this room's words.
fn failure(folder: &Folder, error: ::fjall::Error) -> StoreError {
    use ::fjall::{Error, LsmError};
    let path = folder.path();
    match error {
        // The disk answered, and not with what was written.
        Error::Io(error) | Error::Storage(LsmError::Io(error))
            if matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) =>
        {
            StoreError::corrupt(path, 0, error.to_string())
        }
        Error::Io(error) | Error::Storage(LsmError::Io(error)) => StoreError::io(path, error),
        Error::Poisoned => StoreError::Poisoned { reason: "a write to the tables failed".into() },
        Error::Locked => StoreError::Locked { path: path.display().to_string() },
        Error::InvalidVersion(found) => StoreError::WrongFolder {
            path: path.display().to_string(),
            what: format!(
                "fjall cannot read its format {found:?}; start the release that wrote it"
            ),
        },
        error @ (Error::Storage(_)
        | Error::JournalRecovery(_)
        | Error::Decompress(_)
        | Error::InvalidTrailer
        | Error::InvalidTag(_)
        | Error::Unrecoverable) => StoreError::corrupt(path, 0, error.to_string()),
        error => StoreError::Engine { engine: "fjall", message: error.to_string() },
    }
}

/// Copies out of the library's block, so that a row kept for long does not keep the block.
fn own(slice: &Slice) -> Bytes {
    Bytes::copy_from_slice(slice)
}

fn slice(bytes: &Bytes) -> Slice {
    Slice::from(bytes.as_ref())
}

impl Tables for FjallTables {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let inner = &self.inner;
        let found = inner.written().get(&inner.rows, key);
        let found = found.map_err(|error| inner.failed(error))?;
        Ok(found.as_ref().map(own))
    }

    fn scan(
        &self,
        range: KeyRange,
        direction: Direction,
        rows_max: usize,
    ) -> Result<Vec<Row>, StoreError> {
        if range.is_empty() || rows_max == 0 {
            return Ok(Vec::new());
        }
        let inner = &self.inner;
        let found = inner.written().range(&inner.rows, range.start..range.end);
        let take = |found: &mut dyn Iterator<Item = ::fjall::Guard>| {
            found
                .take(rows_max)
                .map(|guard| guard.into_inner().map(|(key, value)| (own(&key), own(&value))))
                .collect::<::fjall::Result<Vec<Row>>>()
        };
        match direction {
            Direction::Ascending => take(&mut found.into_iter()),
            Direction::Descending => take(&mut found.rev()),
        }
        .map_err(|error| inner.failed(error))
    }

    fn write(&self, batch: Batch) -> Result<(), StoreError> {
        assert_bounds(&batch);
        let inner = &self.inner;
        let mut writes =
            ::fjall::OwnedWriteBatch::with_capacity(inner.database.clone(), batch.len());
        for change in batch.changes() {
            match &change.value {
                Some(value) => writes.insert(&inner.rows, slice(&change.key), slice(value)),
                None => writes.remove(&inner.rows, slice(&change.key)),
            }
        }
        let _turn = inner.turn.lock();
        writes.commit().map_err(|error| inner.failed(error))?;
        inner.show();
        Ok(())
    }

    fn flush(&self) -> Result<(), StoreError> {
        let persisted = self.inner.database.persist(PersistMode::SyncData);
        persisted.map_err(|error| self.inner.failed(error))?;
        // A snapshot keeps what was merged away since: an idle node's is renewed here.
        let _turn = self.inner.turn.lock();
        self.inner.show();
        Ok(())
    }

    fn view(&self, range: KeyRange) -> Result<Box<dyn RowView>, StoreError> {
        let inner = Arc::clone(&self.inner);
        let snapshot = inner.written();
        let rows = (!range.is_empty()).then(|| snapshot.range(&inner.rows, range.start..range.end));
        Ok(Box::new(FjallView { rows, _snapshot: snapshot, inner }))
    }
}

/// The library's own snapshot: it keeps old versions from being merged away while it lives.
struct FjallView {
    rows: Option<Iter>,
    _snapshot: Arc<Snapshot>,
    inner: Arc<Inner>,
}

impl RowView for FjallView {
    fn next(&mut self) -> Result<Option<Row>, StoreError> {
        let Some(guard) = self.rows.as_mut().and_then(Iterator::next) else { return Ok(None) };
        let (key, value) = guard.into_inner().map_err(|error| self.inner.failed(error))?;
        Ok(Some((own(&key), own(&value))))
    }
}
