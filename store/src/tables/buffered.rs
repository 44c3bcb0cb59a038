//! Rows that change often reach an engine seldom: a write buffer in front of an engine that has to pay for every row.
//!
//! A hot conversation rewrites its head, its producer and the applied state with each entry; an engine would log, sort
//! and merge every one of them. Here a batch is visible at once and waits in memory, a later value of a key takes the
//! place of an earlier one, and what waits reaches the engine as ONE atomic batch: so a crash still leaves a prefix
//! of batches, and [`Tables::flush`] still is the barrier. What is lost in a crash is what was not flushed, and the
//! log replays it.
//!
//! A thread of its own drains, so that who writes does not wait for the engine; if it falls behind, writers do.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex, RwLock};

use super::{Batch, Direction, KeyRange, Row, RowView, Tables, assert_bounds};
use crate::StoreError;
use crate::figures::{DRAIN_SECONDS, FLUSH_SECONDS, timed};

/// What waits before it is drained: at 10,000 messages a second about a tenth of a second, in which a hot row is
/// rewritten many times.
const DRAIN_BYTES: usize = 1 << 20;
/// What may wait at most: beyond it a writer drains by itself, which is the backpressure.
const WAITING_BYTES_MAX: usize = 4 * DRAIN_BYTES;
/// What a waiting row costs besides its bytes.
const ROW_BYTES: usize = 64;

const _: () = assert!(DRAIN_BYTES < WAITING_BYTES_MAX);

type Changes = BTreeMap<Bytes, Option<Bytes>>;

/// A buffer in front of `T`.
pub(super) struct Buffered<T: Tables> {
    shared: Arc<Shared<T>>,
    drainer: Option<JoinHandle<()>>,
}

struct Shared<T> {
    inner: T,
    waiting: RwLock<Waiting>,
    /// Held by whoever moves rows into the engine.
    turn: Mutex<()>,
    signal: Mutex<Signal>,
    signalled: Condvar,
}

/// Readers look into `young`, then `old`, then the engine: the first that knows a key knows its newest value.
#[derive(Default)]
struct Waiting {
    young: Changes,
    bytes: usize,
    /// On the way into the engine; stays until it is visible there.
    old: Arc<Changes>,
    /// The engine refused rows: nothing more is accepted.
    failed: Option<String>,
}

#[derive(Default)]
struct Signal {
    drain: bool,
    stop: bool,
}

impl<T: Tables> Buffered<T> {
    /// Puts a buffer in front of `inner`.
    ///
    /// # Errors
    /// When the system has no thread for it.
    #[expect(clippy::disallowed_methods, reason = "this is the production adapter that drains")]
    pub(super) fn new(inner: T) -> Result<Self, StoreError> {
        let shared = Arc::new(Shared {
            inner,
            waiting: RwLock::default(),
            turn: Mutex::default(),
            signal: Mutex::default(),
            signalled: Condvar::new(),
        });
        let drained = Arc::clone(&shared);
        let drainer = std::thread::Builder::new()
            .name("tables-drain".to_owned())
            .spawn(move || drained.drain_until_stopped())
            .map_err(|error| StoreError::io("a thread for the tables", error))?;
        Ok(Self { shared, drainer: Some(drainer) })
    }
}

impl<T: Tables> Drop for Buffered<T> {
    fn drop(&mut self) {
        self.shared.signal.lock().stop = true;
        self.shared.signalled.notify_one();
        if let Some(drainer) = self.drainer.take() {
            // A drainer that panicked has failed the tables already; there is nobody left to tell.
            let _ = drainer.join();
        }
    }
}

impl<T: Tables> Shared<T> {
    fn drain_until_stopped(&self) {
        loop {
            let mut signal = self.signal.lock();
            while !signal.drain && !signal.stop {
                self.signalled.wait(&mut signal);
            }
            if signal.stop {
                return;
            }
            signal.drain = false;
            drop(signal);
            if let Err(error) = self.drain() {
                // Writers are told at their next write; see `Waiting::failed`.
                tracing::error!(%error, "rows could not be written");
            }
        }
    }

    /// Moves everything that waits into the engine. When it returns, the engine has it.
    fn drain(&self) -> Result<(), StoreError> {
        let _turn = self.turn.lock();
        let old = {
            let mut waiting = self.waiting.write();
            waiting.check()?;
            assert!(waiting.old.is_empty(), "whoever had the turn before has finished");
            waiting.bytes = 0;
            waiting.old = Arc::new(std::mem::take(&mut waiting.young));
            Arc::clone(&waiting.old)
        };
        if old.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::with_capacity(old.len());
        for (key, value) in old.iter() {
            match value {
                Some(value) => batch.put(key.clone(), value.clone()),
                None => batch.delete(key.clone()),
            }
        }
        let written = timed(&DRAIN_SECONDS, || self.inner.write(batch));
        let mut waiting = self.waiting.write();
        match &written {
            Ok(()) => waiting.old = Arc::default(),
            Err(error) => waiting.failed = Some(error.to_string()),
        }
        written
    }
}

impl Waiting {
    fn check(&self) -> Result<(), StoreError> {
        match &self.failed {
            None => Ok(()),
            Some(reason) => Err(StoreError::Poisoned { reason: reason.clone() }),
        }
    }

    fn get(&self, key: &[u8]) -> Option<&Option<Bytes>> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    fn take(&mut self, batch: Batch) {
        for change in batch.into_changes() {
            let value_bytes = change.value.as_ref().map_or(0, Bytes::len);
            let key_bytes = change.key.len();
            // Replaced rows are counted again: the bound is on work as much as on memory.
            self.bytes += value_bytes;
            if self.young.insert(change.key, change.value).is_none() {
                self.bytes += key_bytes + ROW_BYTES;
            }
        }
    }

    /// What waits in `range`, the newest change of each key.
    fn within(&self, range: &KeyRange) -> Changes {
        let bounds = (Bound::Included(&range.start), Bound::Excluded(&range.end));
        let mut changes = Changes::new();
        for layer in [&*self.old, &self.young] {
            let part = layer.range::<Bytes, _>(bounds);
            changes.extend(part.map(|(key, value)| (key.clone(), value.clone())));
        }
        changes
    }
}

impl<T: Tables> Tables for Buffered<T> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        if let Some(known) = self.shared.waiting.read().get(key) {
            return Ok(known.clone());
        }
        self.shared.inner.get(key)
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
        // Nothing moves between the layers while this is held, so that no batch is seen in part.
        let waiting = self.shared.waiting.read();
        let changes = waiting.within(&range);
        let deleted = changes.values().filter(|value| value.is_none()).count();
        // Each deletion can hide one row of the engine, so that many more are needed to fill the answer.
        let rows = self.shared.inner.scan(range, direction, rows_max.saturating_add(deleted))?;
        drop(waiting);
        if changes.is_empty() {
            return Ok(rows);
        }
        let mut merged: Changes = rows.into_iter().map(|(key, value)| (key, Some(value))).collect();
        merged.extend(changes);
        let live = merged.into_iter().filter_map(|(key, value)| value.map(|value| (key, value)));
        Ok(match direction {
            Direction::Ascending => live.take(rows_max).collect(),
            Direction::Descending => live.rev().take(rows_max).collect(),
        })
    }

    fn write(&self, batch: Batch) -> Result<(), StoreError> {
        assert_bounds(&batch);
        let bytes = {
            let mut waiting = self.shared.waiting.write();
            waiting.check()?;
            waiting.take(batch);
            waiting.bytes
        };
        if bytes >= WAITING_BYTES_MAX {
            return self.shared.drain();
        }
        if bytes >= DRAIN_BYTES {
            let mut signal = self.shared.signal.lock();
            if !signal.drain {
                signal.drain = true;
                self.shared.signalled.notify_one();
            }
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), StoreError> {
        timed(&FLUSH_SECONDS, || {
            self.shared.drain()?;
            self.shared.inner.flush()
        })
    }

    fn view(&self, range: KeyRange) -> Result<Box<dyn RowView>, StoreError> {
        self.shared.drain()?;
        self.shared.inner.view(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::MemoryTables;

    fn tables() -> Buffered<Arc<MemoryTables>> {
        Buffered::new(Arc::new(MemoryTables::new())).expect("a thread")
    }

    fn put(key: &'static str, value: &'static str) -> Batch {
        let mut batch = Batch::new();
        batch.put(key, value);
        batch
    }

    fn all() -> KeyRange {
        KeyRange::new("a", "z")
    }

    #[test]
    fn a_waiting_row_hides_the_engines_and_a_waiting_deletion_too() {
        let tables = tables();
        for key in ["b", "c", "d", "e"] {
            tables.write(put(key, "old")).expect("written");
        }
        tables.flush().expect("drained");
        tables.write(put("c", "new")).expect("written");
        let mut batch = Batch::new();
        batch.delete("b");
        batch.delete("e");
        tables.write(batch).expect("written");
        let keys = |direction, rows_max| -> Vec<(Bytes, Bytes)> {
            tables.scan(all(), direction, rows_max).expect("scanned")
        };
        let row = |key: &'static str, value: &'static str| (Bytes::from(key), Bytes::from(value));
        assert_eq!(keys(Direction::Ascending, 9), [row("c", "new"), row("d", "old")]);
        assert_eq!(keys(Direction::Ascending, 1), [row("c", "new")]);
        assert_eq!(keys(Direction::Descending, 1), [row("d", "old")]);
        assert_eq!(tables.get(b"b").expect("read"), None);
        assert_eq!(tables.get(b"c").expect("read"), Some(Bytes::from("new")));
    }

    #[test]
    fn nothing_reaches_the_engine_in_part_and_everything_before_a_flush_returns() {
        let engine = Arc::new(MemoryTables::new());
        let tables = Buffered::new(Arc::clone(&engine)).expect("a thread");
        tables.write(put("b", "1")).expect("written");
        assert_eq!(engine.get(b"b").expect("read"), None, "it waits");
        tables.flush().expect("drained");
        assert_eq!(engine.get(b"b").expect("read"), Some(Bytes::from("1")));
        tables.write(put("c", "2")).expect("written");
        let mut view = tables.view(all()).expect("viewed");
        tables.write(put("d", "3")).expect("written");
        let mut seen = Vec::new();
        while let Some((key, _)) = view.next().expect("read") {
            seen.push(key);
        }
        assert_eq!(seen, ["b", "c"], "what was written before the view, and nothing after");
    }

    #[test]
    fn a_writer_that_outruns_the_drainer_drains_by_itself() {
        let tables = tables();
        let value = Bytes::from(vec![7; DRAIN_BYTES / 8]);
        for n in 0..64u32 {
            let mut batch = Batch::new();
            batch.put(Bytes::copy_from_slice(&n.to_be_bytes()), value.clone());
            tables.write(batch).expect("written");
            assert!(tables.shared.waiting.read().bytes < WAITING_BYTES_MAX + value.len());
        }
        let rows = tables.scan(KeyRange::new(vec![0], vec![1]), Direction::Ascending, 100);
        assert_eq!(rows.expect("scanned").len(), 64);
    }
}
