//! Opening: the folder is claimed, then the engine starts in it, then sealing is put around it.

use std::path::Path;
use std::sync::Arc;

use super::buffered::Buffered;
use super::fjall::FjallTables;
use super::marker::{Folder, Marker};
use super::sled::SledTables;
use super::{Engine, MemoryTables, Tables};
use crate::StoreError;
use crate::seal::{Sealed, Sealer};

/// What a node may set about its tables. Two nodes may differ in it.
#[derive(Clone, Debug)]
pub struct TablesOptions {
    /// Bytes of rows read from disk that stay in memory.
    pub cache_bytes: u64,
    /// Bytes of freshly written rows in memory before the engine writes them out as a sorted file
    /// (fjall only). Smaller means less memory and more merging.
    pub memtable_bytes: u64,
    /// Seals values at rest. A folder is sealed from its first day or not at all.
    pub sealer: Option<Arc<Sealer>>,
}

impl Default for TablesOptions {
    /// A cache that keeps an idle node small, and a memtable that only a busy node fills: at 8 MiB merging tables
    /// took twice the CPU of writing rows.
    fn default() -> Self {
        Self { cache_bytes: 16 * 1024 * 1024, memtable_bytes: 32 * 1024 * 1024, sealer: None }
    }
}

/// Opens the tables in the folder `path`, which is made when absent. [`Engine::Memory`] begins empty
/// and ignores the folder.
///
/// # Errors
/// [`StoreError::Locked`] when a process has the folder open; [`StoreError::WrongFolder`] or
/// [`StoreError::WrongVersion`] when it is another engine's or format's, with advice; damage; or the
/// disk failed.
pub fn open_tables(
    engine: Engine,
    path: impl AsRef<Path>,
    options: &TablesOptions,
) -> Result<Arc<dyn Tables>, StoreError> {
    let marker = Marker { engine, sealed: options.sealer.is_some() };
    let claim = || Folder::claim(path.as_ref(), &marker);
    Ok(match engine {
        Engine::Fjall => {
            Arc::new(Buffered::new(sealed(FjallTables::open(claim()?, options)?, options))?)
        }
        Engine::Sled => {
            Arc::new(Buffered::new(sealed(SledTables::open(claim()?, options)?, options))?)
        }
        Engine::Memory => sealed(MemoryTables::new(), options),
    })
}

/// Opens the tables in `path` as they lie there, whichever engine wrote them: sealed values stay sealed. For tools that
/// count rows, on a copy: an engine tidies its files when it opens them.
///
/// # Errors
/// As [`open_tables`], and when the folder has no tables.
pub fn open_as_they_lie(path: impl AsRef<Path>) -> Result<(Engine, Arc<dyn Tables>), StoreError> {
    let path = path.as_ref();
    let marker = Marker::read(path)?;
    let options = TablesOptions::default();
    let tables: Arc<dyn Tables> = match marker.engine {
        Engine::Fjall => Arc::new(FjallTables::open(Folder::claim(path, &marker)?, &options)?),
        Engine::Sled => Arc::new(SledTables::open(Folder::claim(path, &marker)?, &options)?),
        Engine::Memory => Arc::new(MemoryTables::new()),
    };
    Ok((marker.engine, tables))
}

/// Whether a process has the tables in `path` open.
///
/// # Errors
/// When the folder has no tables.
pub fn is_open_elsewhere(path: impl AsRef<Path>) -> Result<bool, StoreError> {
    Marker::read(path.as_ref())?;
    Folder::is_locked(path.as_ref())
}

/// Seals before a row reaches the engine, behind the buffer: a row that is rewritten while it waits is sealed once.
fn sealed(tables: impl Tables, options: &TablesOptions) -> Arc<dyn Tables> {
    match &options.sealer {
        Some(sealer) => Arc::new(Sealed::new(tables, Arc::clone(sealer))),
        None => Arc::new(tables),
    }
}
