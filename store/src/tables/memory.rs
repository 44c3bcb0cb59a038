//! The memory engine: a sorted map, for tests and simulation. Deterministic, and honest about
//! crashes: what was written after the last flush can be taken back.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::RwLock;

use super::{Batch, Direction, KeyRange, Row, RowView, Tables, assert_bounds, just_after};
use crate::StoreError;

/// Batches kept to be taken back. Beyond it the oldest counts as written back by the system, which
/// a real disk does too; a test that never flushes stays bounded.
const UNFLUSHED_BATCHES_MAX: usize = 65_536;

/// Rows in memory. Clones share the rows.
#[derive(Clone)]
pub struct MemoryTables {
    shared: Arc<Shared>,
    /// Handles from before a crash are dead.
    life: u64,
}

struct Shared {
    life: AtomicU64,
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    /// Views share the map; the first write while a view is open copies it (keys and values are
    /// shared, so a copy costs about 100 ns a row).
    rows: Arc<BTreeMap<Bytes, Bytes>>,
    /// For each unflushed batch, oldest first: how to take it back.
    unflushed: VecDeque<Vec<(Bytes, Option<Bytes>)>>,
}

impl Default for MemoryTables {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryTables {
    /// Empty tables.
    pub fn new() -> Self {
        let shared = Shared { life: AtomicU64::new(0), state: RwLock::default() };
        Self { shared: Arc::new(shared), life: 0 }
    }

    /// A crash: of the unflushed batches the oldest `kept` survive, the others are gone, and every
    /// handle from before is refused with [`StoreError::Poisoned`]. Returns the reopened tables.
    pub fn crash(&self, kept: usize) -> Self {
        let mut state = self.shared.state.write();
        let life = self.shared.life.fetch_add(1, Ordering::SeqCst) + 1;
        while state.unflushed.len() > kept {
            let undo = state.unflushed.pop_back().expect("longer than kept");
            let rows = Arc::make_mut(&mut state.rows);
            for (key, value) in undo.into_iter().rev() {
                put_back(rows, key, value);
            }
        }
        state.unflushed.clear();
        drop(state);
        Self { shared: Arc::clone(&self.shared), life }
    }

    /// How many batches a crash could take back now.
    pub fn unflushed(&self) -> usize {
        self.shared.state.read().unflushed.len()
    }

    /// Called with the state locked, so that a crash cannot slip in between.
    fn alive(&self) -> Result<(), StoreError> {
        if self.shared.life.load(Ordering::SeqCst) == self.life {
            Ok(())
        } else {
            Err(StoreError::Poisoned { reason: "these tables crashed".into() })
        }
    }
}

fn put_back(rows: &mut BTreeMap<Bytes, Bytes>, key: Bytes, value: Option<Bytes>) -> Option<Bytes> {
    match value {
        Some(value) => rows.insert(key, value),
        None => rows.remove(&key),
    }
}

impl Tables for MemoryTables {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let state = self.shared.state.read();
        self.alive()?;
        Ok(state.rows.get(key).cloned())
    }

    fn scan(
        &self,
        range: KeyRange,
        direction: Direction,
        rows_max: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let state = self.shared.state.read();
        self.alive()?;
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let rows = state.rows.range(range.start..range.end);
        let own = |(key, value): (&Bytes, &Bytes)| (key.clone(), value.clone());
        Ok(match direction {
            Direction::Ascending => rows.take(rows_max).map(own).collect(),
            Direction::Descending => rows.rev().take(rows_max).map(own).collect(),
        })
    }

    fn write(&self, batch: Batch) -> Result<(), StoreError> {
        assert_bounds(&batch);
        let mut state = self.shared.state.write();
        self.alive()?;
        let rows = Arc::make_mut(&mut state.rows);
        let mut undo = Vec::with_capacity(batch.len());
        for change in batch.into_changes() {
            let before = put_back(rows, change.key.clone(), change.value);
            undo.push((change.key, before));
        }
        state.unflushed.push_back(undo);
        if state.unflushed.len() > UNFLUSHED_BATCHES_MAX {
            state.unflushed.pop_front();
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), StoreError> {
        let mut state = self.shared.state.write();
        self.alive()?;
        state.unflushed.clear();
        Ok(())
    }

    fn view(&self, range: KeyRange) -> Result<Box<dyn RowView>, StoreError> {
        let state = self.shared.state.read();
        self.alive()?;
        let rows = Arc::clone(&state.rows);
        Ok(Box::new(MemoryView { rows, rest: range, ready: Vec::new().into_iter() }))
    }
}

/// Rows that a view copies out at a time.
const CHUNK_ROWS: usize = 256;

struct MemoryView {
    rows: Arc<BTreeMap<Bytes, Bytes>>,
    rest: KeyRange,
    ready: std::vec::IntoIter<Row>,
}

impl RowView for MemoryView {
    fn next(&mut self) -> Result<Option<Row>, StoreError> {
        if let Some(row) = self.ready.next() {
            return Ok(Some(row));
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        let range = self.rest.start.clone()..self.rest.end.clone();
        let found = self.rows.range(range).take(CHUNK_ROWS);
        let found: Vec<Row> = found.map(|(key, value)| (key.clone(), value.clone())).collect();
        self.rest.start = match found.last() {
            Some((last, _)) if found.len() == CHUNK_ROWS => just_after(last),
            _ => self.rest.end.clone(),
        };
        self.ready = found.into_iter();
        Ok(self.ready.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(tables: &MemoryTables, key: &'static str, value: &'static str) {
        let mut batch = Batch::new();
        batch.put(key, value);
        tables.write(batch).expect("alive");
    }

    fn value(tables: &MemoryTables, key: &str) -> Option<Bytes> {
        tables.get(key.as_bytes()).expect("alive")
    }

    #[test]
    fn a_crash_takes_back_unflushed_batches_newest_first() {
        let tables = MemoryTables::new();
        put(&tables, "a", "1");
        tables.flush().expect("alive");
        put(&tables, "a", "2");
        let mut batch = Batch::new();
        batch.put("a", "3");
        batch.delete("a");
        batch.put("b", "3");
        tables.write(batch).expect("alive");
        assert_eq!(tables.unflushed(), 2);

        let tables = tables.crash(1);
        assert_eq!(value(&tables, "a").as_deref(), Some(b"2".as_slice()), "one batch survived");
        assert_eq!(value(&tables, "b"), None);
        put(&tables, "a", "4");
        let tables = tables.crash(0);
        assert_eq!(value(&tables, "a").as_deref(), Some(b"2".as_slice()), "a survivor is durable");
    }

    #[test]
    fn handles_from_before_a_crash_are_dead() {
        let before = MemoryTables::new();
        let after = before.crash(0);
        let mut batch = Batch::new();
        batch.put("a", "1");
        assert!(matches!(before.write(batch), Err(StoreError::Poisoned { .. })));
        assert!(matches!(before.get(b"a"), Err(StoreError::Poisoned { .. })));
        put(&after, "a", "1");
    }
}
