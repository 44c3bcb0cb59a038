//! The sled engine: selectable, not recommended.
//!
//! What the library lacks is added here and paid for. Its `flush()` ends in `sync_file_range` on
//! Linux, which is no barrier, so [`Tables::flush`] syncs the database file (and the files that the
//! library makes for oversized values) itself. It has no consistent iterator, so writers are
//! exclusive and views keep what writers change (see `before`).
//!
//! What cannot be added: the library reuses places in its file before what replaced them is on
//! stable storage. A killed process loses nothing by it. A loss of power left the file damaged, or
//! set back to an older state, in about one of a hundred tried cuts; the first is refused as
//! [`StoreError::Corrupt`], the second is noticed above when the log was purged further than the
//! tables reach, and in both cases the node begins anew from its peers. It also costs about eight
//! times the CPU of the default for a row, and its files do not shrink.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ::sled::IVec;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use super::before::{Live, Views};
use super::marker::Folder;
use super::{Batch, Direction, KeyRange, Row, RowView, Tables, TablesOptions, assert_bounds};
use crate::StoreError;

/// The library's file for everything but oversized values.
const DATABASE_FILE: &str = "db";
/// The library's folder for oversized values, one file each.
const OVERSIZED_FOLDER: &str = "blobs";

/// Rows in a sled database.
pub(super) struct SledTables {
    inner: Arc<Inner>,
}

/// Fields drop in this order: the database closes before the folder is unlocked.
struct Inner {
    database: ::sled::Db,
    /// The library's main file, opened once more for the barrier.
    file: File,
    /// Writers hold it exclusively: a reader of several rows sees no batch in part.
    gate: RwLock<()>,
    views: Views,
    /// Set by the first failed write or flush, for good.
    poisoned: Mutex<Option<String>>,
    /// Oversized values that are on stable storage already.
    synced: Mutex<BTreeSet<OsString>>,
    folder: Folder,
}

/// How often the library's own lock is tried. It belongs to this process: whoever else has the folder is refused before,
/// by its claim. A database that was closed a moment ago lets go of it from a thread of its own.
const LOCK_TRIES: u32 = 100;
/// Between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// The database in a claimed folder.
#[expect(
    clippy::disallowed_methods,
    reason = "opening blocks as all of this room does; nothing simulated opens sled"
)]
fn open_database(config: &::sled::Config, folder: &Folder) -> Result<::sled::Db, StoreError> {
    for _ in 1..LOCK_TRIES {
        match try_open(config, folder)? {
            Err(::sled::Error::Io(error)) if is_locked(&error) => std::thread::sleep(LOCK_PAUSE),
            opened => return opened.map_err(|error| failure(folder, error)),
        }
    }
    try_open(config, folder)?.map_err(|error| failure(folder, error))
}

/// After a loss of power the library finds its own files inconsistent and panics; to us those are bytes from outside.
fn try_open(
    config: &::sled::Config,
    folder: &Folder,
) -> Result<Result<::sled::Db, ::sled::Error>, StoreError> {
    std::panic::catch_unwind(AssertUnwindSafe(|| config.open()))
        .map_err(|_| StoreError::corrupt(folder.path(), 0, "sled cannot recover its files"))
}

/// The library wraps what the operating system said of its lock into words.
fn is_locked(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Other && error.to_string().contains("acquire lock")
}

impl SledTables {
    /// Opens or makes the database in `folder`.
    pub(super) fn open(folder: Folder, options: &TablesOptions) -> Result<Self, StoreError> {
        let config = ::sled::Config::new()
            .path(folder.data())
            .cache_capacity(options.cache_bytes)
            .flush_every_ms(None);
        let database = open_database(&config, &folder)?;
        let path = folder.data().join(DATABASE_FILE);
        let file = File::open(&path).map_err(|error| StoreError::io(&path, error))?;
        let inner = Inner {
            database,
            file,
            gate: RwLock::new(()),
            views: Views::default(),
            poisoned: Mutex::new(None),
            synced: Mutex::new(BTreeSet::new()),
            folder,
        };
        // What recovery adopted may never have reached the disk: make it durable before anyone
        // builds on it. The folders' names too.
        inner.sync().map_err(|error| StoreError::io(inner.folder.path(), error))?;
        sync_folder(&inner.folder.data()).map_err(|error| StoreError::io(&path, error))?;
        inner.folder.sync()?;
        Ok(Self { inner: Arc::new(inner) })
    }
}

impl Inner {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let found = self.database.get(key).map_err(|error| failure(&self.folder, error))?;
        Ok(found.as_ref().map(own))
    }

    fn usable(&self) -> Result<(), StoreError> {
        match &*self.poisoned.lock() {
            None => Ok(()),
            Some(reason) => Err(StoreError::Poisoned { reason: reason.clone() }),
        }
    }

    /// Remembers the first failure: nothing is written or flushed after it.
    fn poison(&self, error: StoreError) -> StoreError {
        self.poisoned.lock().get_or_insert_with(|| error.to_string());
        error
    }

    /// The barrier. Oversized values first: the database file refers to them.
    fn sync(&self) -> io::Result<()> {
        self.sync_oversized()?;
        self.file.sync_data()
    }

    fn sync_oversized(&self) -> io::Result<()> {
        let folder: PathBuf = self.folder.data().join(OVERSIZED_FOLDER);
        let mut synced = self.synced.lock();
        let mut present = BTreeSet::new();
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if !synced.contains(&name) {
                match File::open(entry.path()) {
                    Ok(file) => file.sync_all()?,
                    // The library removed it meanwhile: nothing refers to it.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                }
            }
            present.insert(name);
        }
        if present != *synced {
            sync_folder(&folder)?;
            *synced = present;
        }
        Ok(())
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// What the library says, in this room's words.
fn failure(folder: &Folder, error: ::sled::Error) -> StoreError {
    match error {
        ::sled::Error::Io(error) => StoreError::io(folder.path(), error),
        ::sled::Error::Corruption { at, .. } => {
            StoreError::corrupt(folder.path(), 0, format!("sled found damage at {at:?}"))
        }
        error => StoreError::Engine { engine: "sled", message: error.to_string() },
    }
}

fn own(value: &IVec) -> Bytes {
    Bytes::copy_from_slice(value)
}

impl Live for Inner {
    fn quietly<R>(&self, read: impl FnOnce(&Self) -> R) -> R {
        let _no_writer = self.gate.read();
        read(self)
    }

    fn rows(
        &self,
        range: KeyRange,
        direction: Direction,
        rows_max: usize,
    ) -> Result<Vec<Row>, StoreError> {
        if range.is_empty() || rows_max == 0 {
            return Ok(Vec::new());
        }
        let found = self.database.range(range.start..range.end);
        let take = |found: &mut dyn Iterator<Item = ::sled::Result<(IVec, IVec)>>| {
            found
                .take(rows_max)
                .map(|row| row.map(|(key, value)| (own(&key), own(&value))))
                .collect::<::sled::Result<Vec<Row>>>()
        };
        match direction {
            Direction::Ascending => take(&mut found.into_iter()),
            Direction::Descending => take(&mut found.rev()),
        }
        .map_err(|error| failure(&self.folder, error))
    }
}

impl Tables for SledTables {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.inner.get(key)
    }

    fn scan(
        &self,
        range: KeyRange,
        direction: Direction,
        rows_max: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.inner.quietly(|inner| inner.rows(range, direction, rows_max))
    }

    fn write(&self, batch: Batch) -> Result<(), StoreError> {
        assert_bounds(&batch);
        let inner = &self.inner;
        let _alone = inner.gate.write();
        inner.usable()?;
        inner.views.keep_before(&batch, |key| inner.get(key))?;
        let mut writes = ::sled::Batch::default();
        for change in batch.changes() {
            match &change.value {
                Some(value) => writes.insert(change.key.as_ref(), value.as_ref()),
                None => writes.remove(change.key.as_ref()),
            }
        }
        let applied = inner.database.apply_batch(writes);
        applied.map_err(|error| inner.poison(failure(&inner.folder, error)))
    }

    fn flush(&self) -> Result<(), StoreError> {
        let inner = &self.inner;
        inner.usable()?;
        let written = inner.database.flush();
        written.map_err(|error| inner.poison(failure(&inner.folder, error)))?;
        let synced = inner.sync();
        synced.map_err(|error| inner.poison(StoreError::io(inner.folder.path(), error)))
    }

    fn view(&self, range: KeyRange) -> Result<Box<dyn RowView>, StoreError> {
        Ok(self.inner.views.open(Arc::clone(&self.inner), range))
    }
}
