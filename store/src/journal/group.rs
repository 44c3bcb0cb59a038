//! One group's log as its callers see it: an index of all entries in memory and the payloads of
//! recent ones.
//!
//! Law: what a call submitted is visible when the call returns, before it is durable. Every entry
//! is in the cache until the writer has told its place on disk, so that a read never misses. The
//! index is bounded by the caller's purges, the cache by the configuration.

use super::format::Kind;
use super::segments::{Place, Segments};
use super::written::Written;
use super::{GroupState, LogPosition};
use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;

/// One entry in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) term: u64,
    pub(crate) node: u64,
    /// Where it is on disk; segment 0 while the writer has not told.
    pub(crate) place: Place,
    /// Tells an entry from one that had the same index and was truncated.
    pub(crate) generation: u32,
    pub(crate) entry_kind: u8,
}

/// One group, shared by its handles, the writer and the chores.
pub(crate) struct Group {
    pub(crate) id: u32,
    state: Mutex<Entries>,
}

/// What the mutex of a group guards.
pub(crate) struct Entries {
    /// State as of the last call, ahead of the writer's.
    pub(crate) written: Written,
    slots: VecDeque<Slot>,
    /// Payloads of the last entries.
    cache: VecDeque<Bytes>,
    cache_bytes: usize,
    generation: u32,
}

impl Group {
    pub(crate) fn new(id: u32, written: Written, slots: VecDeque<Slot>) -> Self {
        debug_assert_eq!(written.entries(), slots.len() as u64);
        let state =
            Entries { written, slots, cache: VecDeque::new(), cache_bytes: 0, generation: 0 };
        Self { id, state: Mutex::new(state) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Entries> {
        self.state.lock()
    }

    /// The writer tells where it put entries: `(index, place, kind)` in the order of the operation.
    pub(crate) fn publish(
        &self,
        generation: u32,
        places: impl Iterator<Item = (Kind, u64, Place)>,
        segments: &Segments,
        cache_bytes_max: usize,
    ) {
        let mut entries = self.state.lock();
        let mut live = segments.live();
        for (kind, index, place) in places {
            let Some(slot) = entries.slot_mut(index) else {
                continue;
            };
            let wanted = match kind {
                Kind::Entry => slot.generation == generation && !slot.place.is_known(),
                // A copy is as good as the entry, if the entry is still the one that was copied.
                Kind::Moved => slot.generation <= generation && slot.place.is_known(),
                _ => false,
            };
            if wanted {
                live.remove(slot.place);
                live.add(place);
                slot.place = place;
            }
        }
        drop(live);
        entries.evict(cache_bytes_max);
    }
}

impl Entries {
    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    pub(crate) fn slot(&self, index: u64) -> Option<&Slot> {
        let at = index.checked_sub(self.written.first)?;
        self.slots.get(usize::try_from(at).ok()?)
    }

    fn slot_mut(&mut self, index: u64) -> Option<&mut Slot> {
        let at = index.checked_sub(self.written.first)?;
        self.slots.get_mut(usize::try_from(at).ok()?)
    }

    pub(crate) fn slots(&self) -> impl Iterator<Item = (u64, &Slot)> {
        (self.written.first..).zip(&self.slots)
    }

    /// The payload, if it is in memory.
    pub(crate) fn cached(&self, index: u64) -> Option<&Bytes> {
        let at = usize::try_from(index.checked_sub(self.written.first)?).ok()?;
        self.cache.get(at.checked_sub(self.slots.len() - self.cache.len())?)
    }

    /// Where the position of `index` is known: an entry or the purged position.
    pub(crate) fn position(&self, index: u64) -> Option<LogPosition> {
        if let Some(purged) = self.written.purged.filter(|purged| purged.index == index) {
            return Some(purged);
        }
        self.slot(index).map(|slot| LogPosition { term: slot.term, node: slot.node, index })
    }

    /// Adds entries; `written` is the state with them.
    pub(crate) fn extend(&mut self, written: Written, added: impl Iterator<Item = (Slot, Bytes)>) {
        for (slot, payload) in added {
            self.cache_bytes += payload.len();
            self.slots.push_back(Slot { generation: self.generation, ..slot });
            self.cache.push_back(payload);
        }
        self.written = written;
        assert_eq!(self.written.entries(), self.slots.len() as u64, "the index has every entry");
    }

    /// Brings index and cache in line with `written` after entries were removed, at the front or at
    /// the back.
    pub(crate) fn shrink(&mut self, first_before: u64, segments: &Segments) {
        let entries = usize::try_from(self.written.entries()).expect("the index is in memory");
        let gone = self.written.first.saturating_sub(first_before);
        let at_front = usize::try_from(gone).unwrap_or(usize::MAX).min(self.slots.len());
        let mut live = segments.live();
        for slot in self.slots.drain(..at_front) {
            live.remove(slot.place);
        }
        while self.cache.len() > self.slots.len() {
            self.cache_bytes -= self.cache.pop_front().map_or(0, |payload| payload.len());
        }
        if self.slots.len() > entries {
            // Whatever the writer still tells about the removed entries is out of date.
            self.generation += 1;
        }
        while self.slots.len() > entries {
            if let Some(slot) = self.slots.pop_back() {
                live.remove(slot.place);
            }
            self.cache_bytes -= self.cache.pop_back().map_or(0, |payload| payload.len());
        }
        assert_eq!(entries, self.slots.len(), "the index has every entry and no other");
    }

    fn evict(&mut self, cache_bytes_max: usize) {
        while self.cache_bytes > cache_bytes_max {
            let oldest = self.slots.len() - self.cache.len();
            let Some(slot) = self.slots.get(oldest) else {
                return;
            };
            if !slot.place.is_known() {
                return;
            }
            self.cache_bytes -= self.cache.pop_front().map_or(0, |payload| payload.len());
        }
    }

    pub(crate) fn state(&self) -> GroupState {
        let Written { vote, committed, purged, first, last } = self.written.clone();
        GroupState { vote, committed, first, last, purged }
    }
}
