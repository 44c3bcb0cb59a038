//! Support of the table suites: every way to open tables, by name, and small helpers.

#![allow(dead_code, reason = "each suite uses its part")]

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use store::{
    Batch, Direction, Engine, KeyRange, NodeKey, Row, RowView, Sealer, StoreError, SystemEntropy,
    Tables, TablesOptions, open_tables,
};

/// Attempts at a lock, 10 ms apart.
const LOCK_ATTEMPTS_MAX: u32 = 500;

/// One way to keep rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// The library below.
    pub(crate) engine: Engine,
    /// Whether values are sealed.
    pub(crate) sealed: bool,
}

impl Kind {
    /// Opens the tables in `folder`, with so little memory that tests reach the disk.
    pub(crate) fn open(self, folder: &Path) -> Arc<dyn Tables> {
        self.try_open(folder).expect("tables open")
    }

    /// The same, where the folder may be damaged. Waits for the lock: a process that another test
    /// forks holds it for the moment until it has become its own program.
    pub(crate) fn try_open(self, folder: &Path) -> Result<Arc<dyn Tables>, StoreError> {
        let sealer = self.sealed.then(|| {
            let key = NodeKey::load_or_create(&folder.join("node.key"), &SystemEntropy);
            let key = key.expect("a node key");
            let ring = folder.join("keys");
            Arc::new(Sealer::open(&ring, key, Box::new(SystemEntropy)).expect("a key ring"))
        });
        let options = TablesOptions { cache_bytes: 2 << 20, memtable_bytes: 1 << 20, sealer };
        let mut result = open_tables(self.engine, folder.join("tables"), &options);
        let (_open, pause) = channel::<()>();
        for _ in 0..LOCK_ATTEMPTS_MAX {
            if !matches!(result, Err(StoreError::Locked { .. })) {
                break;
            }
            let _ = pause.recv_timeout(Duration::from_millis(10));
            result = open_tables(self.engine, folder.join("tables"), &options);
        }
        result
    }

    /// Whether rows outlive the process.
    pub(crate) fn is_durable(self) -> bool {
        self.engine != Engine::Memory
    }
}

/// The range of all keys that the suites use.
pub(crate) fn everything() -> KeyRange {
    KeyRange::new(vec![0], vec![0xff; 8])
}

/// Writes one row in a batch of its own.
pub(crate) fn put(tables: &dyn Tables, key: &str, value: &str) {
    let mut batch = Batch::new();
    batch.put(key.as_bytes().to_vec(), value.as_bytes().to_vec());
    tables.write(batch).expect("written");
}

/// Every row, ascending.
pub(crate) fn rows(tables: &dyn Tables) -> Vec<Row> {
    tables.scan(everything(), Direction::Ascending, usize::MAX).expect("scanned")
}

/// Every row that a view has left.
pub(crate) fn drain(view: &mut dyn RowView) -> Vec<Row> {
    std::iter::from_fn(|| view.next().expect("read")).collect()
}
