//! Consistent views over an engine that has none: each open view keeps the rows that writers are
//! about to change, as they were when the view was taken.
//!
//! The alternative, a copy of the range under the write lock, would stop all writers for as long as
//! reading a shard takes and hold the shard in memory. Here taking a view costs nothing; a write
//! pays one read for each changed row that an open view has yet to reach, and a view holds in memory
//! only the rows changed ahead of it. The engine's part: writers are exclusive, and tell before they
//! change ([`Views::keep_before`]); readers of views exclude writers.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Batch, Direction, KeyRange, Row, RowView, just_after};
use crate::StoreError;

/// Rows that a view reads at a time while it keeps writers out: about a hundred microseconds.
const CHUNK_ROWS: usize = 256;

/// The live rows under the views.
pub(super) trait Live: Send + Sync + 'static {
    /// Runs `read` while no writer is at work.
    fn quietly<R>(&self, read: impl FnOnce(&Self) -> R) -> R;

    /// The live rows. Called within [`Live::quietly`].
    fn rows(
        &self,
        range: KeyRange,
        direction: Direction,
        rows_max: usize,
    ) -> Result<Vec<Row>, StoreError>;
}

/// The open views of an engine.
#[derive(Default)]
pub(super) struct Views {
    open: Mutex<Vec<Weak<Ahead>>>,
}

/// What one view has yet to read.
struct Ahead {
    range: KeyRange,
    state: Mutex<AheadState>,
}

struct AheadState {
    /// Rows below are read already.
    from: Bytes,
    /// Rows at or above `from` that changed since the view was taken, as they were; `None`: absent.
    before: BTreeMap<Bytes, Option<Bytes>>,
}

impl Views {
    /// Opens a view of `range` as it is now.
    pub(super) fn open<L: Live>(&self, live: Arc<L>, range: KeyRange) -> Box<dyn RowView> {
        let from = range.start.clone();
        let state = Mutex::new(AheadState { from, before: BTreeMap::new() });
        let ahead = Arc::new(Ahead { range, state });
        live.quietly(|_| self.open.lock().push(Arc::downgrade(&ahead)));
        Box::new(BeforeView { live, ahead, ready: Vec::new().into_iter() })
    }

    /// Keeps what `batch` is about to change for the views that have yet to read it. The caller is
    /// the only writer and has changed nothing yet; `get` reads a live row.
    pub(super) fn keep_before(
        &self,
        batch: &Batch,
        get: impl Fn(&[u8]) -> Result<Option<Bytes>, StoreError>,
    ) -> Result<(), StoreError> {
        let mut open = self.open.lock();
        open.retain(|view| view.strong_count() > 0);
        for ahead in open.iter().filter_map(Weak::upgrade) {
            let mut state = ahead.state.lock();
            for change in batch.changes() {
                let unread = change.key >= state.from && ahead.range.contains(&change.key);
                if unread && !state.before.contains_key(&change.key) {
                    state.before.insert(change.key.clone(), get(&change.key)?);
                }
            }
        }
        Ok(())
    }
}

struct BeforeView<L> {
    live: Arc<L>,
    ahead: Arc<Ahead>,
    ready: std::vec::IntoIter<Row>,
}

impl<L: Live> BeforeView<L> {
    /// Reads the next chunk; false when there is nothing left.
    fn fill(&mut self) -> Result<bool, StoreError> {
        let ahead = &self.ahead;
        let rows = self.live.quietly(|live| {
            let mut state = ahead.state.lock();
            let rest = KeyRange::new(state.from.clone(), ahead.range.end.clone());
            if rest.is_empty() {
                return Ok(None);
            }
            let found = live.rows(rest, Direction::Ascending, CHUNK_ROWS)?;
            let until = match found.last() {
                Some((last, _)) if found.len() == CHUNK_ROWS => just_after(last),
                _ => ahead.range.end.clone(),
            };
            let later = state.before.split_off(&until);
            let before = std::mem::replace(&mut state.before, later);
            state.from = until;
            Ok(Some(as_it_was(found, before)))
        })?;
        match rows {
            None => Ok(false),
            Some(rows) => {
                self.ready = rows.into_iter();
                Ok(true)
            }
        }
    }
}

impl<L: Live> RowView for BeforeView<L> {
    fn next(&mut self) -> Result<Option<Row>, StoreError> {
        loop {
            if let Some(row) = self.ready.next() {
                return Ok(Some(row));
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }
}

/// The live rows of a stretch with every changed one put back.
fn as_it_was(live: Vec<Row>, before: BTreeMap<Bytes, Option<Bytes>>) -> Vec<Row> {
    if before.is_empty() {
        return live;
    }
    let mut rows: BTreeMap<Bytes, Option<Bytes>> =
        live.into_iter().map(|(key, value)| (key, Some(value))).collect();
    rows.extend(before);
    rows.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}
