//! Chores: what can happen beside the writer. The next segment is made, segments that nobody needs
//! go, and the few live entries of an old segment are copied forward when it holds up many others.
//!
//! Law: at most one chore of each kind at a time. A segment is removed only after a durable record
//! says that it is not needed. Copying is worth it only while less than half of all segments' bytes
//! are live, so that its cost is bounded by what it frees.

use super::LogPosition;
use super::format::{FLAG_SEALED, Kind, RecordHeader};
use super::group::{Group, Slot};
use super::queue::{Encoded, Operation};
use super::shared::Shared;
use super::writer::Writer;
use crate::error::StoreError;
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes copied forward in one go, so that the copies never hold up many entries of others.
const MOVE_BYTES: usize = 256 << 10;

/// One thing to do. A set of them is the whole queue: doing one twice would do nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Chore {
    /// Make the next segment.
    Prepare,
    /// Remove all segments before this one.
    Remove(u32),
    /// Copy the live entries of this segment forward.
    Move(u32),
    /// See how long a slow disk takes.
    Try,
}

#[derive(Default)]
struct State {
    waiting: BTreeSet<Chore>,
    closed: bool,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Chores {
    state: Mutex<State>,
    work: Condvar,
    preparing: AtomicBool,
    dropping: AtomicBool,
    moving: AtomicBool,
}

impl Chores {
    fn add(&self, chore: Chore) {
        self.state.lock().waiting.insert(chore);
        self.work.notify_one();
    }

    /// Asks for the next segment, unless that is under way.
    pub(crate) fn prepare(&self) {
        if !self.preparing.swap(true, Ordering::AcqRel) {
            self.add(Chore::Prepare);
        }
    }

    /// Asks for a look at how long the disk takes.
    pub(crate) fn try_disk(&self) {
        self.add(Chore::Try);
    }

    /// Does what waits, on the caller's time; whether there was anything.
    pub(crate) fn run_pending(&self, shared: &Arc<Shared>) -> bool {
        let Some(chore) = self.state.lock().waiting.pop_first() else {
            return false;
        };
        run_one(shared, chore);
        true
    }

    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.work.notify_all();
    }

    fn wait(&self) -> Option<Chore> {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(chore) = state.waiting.pop_first() {
                return Some(chore);
            }
            self.work.wait(&mut state);
        }
    }
}

/// The chores' thread.
pub(crate) fn run(shared: &Arc<Shared>) {
    let _guard = shared.guard("chores");
    while let Some(chore) = shared.chores.wait() {
        run_one(shared, chore);
    }
}

fn run_one(shared: &Arc<Shared>, chore: Chore) {
    if shared.fatal.first().is_some() {
        return;
    }
    let chores = &shared.chores;
    let result = match chore {
        Chore::Prepare => {
            let prepared = shared.segments.prepare();
            chores.preparing.store(false, Ordering::Release);
            prepared
        }
        Chore::Remove(oldest) => {
            let removed = shared.segments.remove_before(oldest);
            chores.dropping.store(false, Ordering::Release);
            if shared.queue.is_full() {
                chores.prepare();
            }
            removed
        }
        Chore::Move(segment) => move_entries(shared, segment),
        Chore::Try => {
            shared.try_disk();
            Ok(())
        }
    };
    match (chore, result) {
        (Chore::Prepare, Ok(())) => shared.queue.set_full(false),
        (Chore::Prepare, Err(StoreError::Full { path })) => {
            tracing::error!(path, "the disk is full: no new entries until there is room");
            shared.queue.set_full(true);
        }
        (_, Ok(())) => {}
        (_, Err(error)) => shared.fatal.raise(&error),
    }
}

/// After each batch: what has become due?
pub(crate) fn look_around(shared: &Arc<Shared>, writer: &Writer) {
    let active = &writer.active;
    let (segments, bytes, prepared) = {
        let files = shared.segments.files();
        let total: u64 = files.by_number.values().map(|segment| segment.capacity).sum();
        (files.by_number.len(), total, files.prepared.is_some())
    };
    // A small segment that is not half full is the first one of an idle node; a full-sized one says
    // that there is load, and then the next one cannot be ready too soon.
    let due =
        active.capacity > shared.segments.short_bytes() || writer.offset > active.capacity / 2;
    if due && !prepared && !shared.queue.is_full() {
        shared.chores.prepare();
    }
    let (oldest, live) = {
        let live = shared.segments.live();
        (live.oldest().unwrap_or(active.number).min(active.number), live.bytes())
    };
    if oldest > writer.oldest && !shared.chores.dropping.swap(true, Ordering::AcqRel) {
        record_drop(shared, oldest);
    }
    let pinned =
        segments > shared.config.segments_max && live * 2 < bytes && oldest < active.number;
    if pinned && !shared.chores.moving.swap(true, Ordering::AcqRel) {
        shared.chores.add(Chore::Move(oldest));
    }
}

/// Says in the journal that older segments are not needed, and has them removed once that is
/// durable.
fn record_drop(shared: &Arc<Shared>, oldest: u32) {
    let position = LogPosition { term: 0, node: 0, index: u64::from(oldest) };
    let record =
        Encoded::new(RecordHeader::new(Kind::Dropped, 0, Some(position)), Default::default());
    let weak = Arc::downgrade(shared);
    let done = Box::new(move |result: Result<(), StoreError>| {
        if let (Some(shared), Ok(())) = (weak.upgrade(), result) {
            shared.chores.add(Chore::Remove(oldest));
        }
    });
    let operation = Operation { group: None, generation: 0, records: 0, done: Some(done) };
    // A refusal means that the journal is closing: the next process will drop them.
    let _ = shared.queue.push(operation, &[record]);
}

/// Copies up to [`MOVE_BYTES`] of the live entries of `segment` to the end of the journal.
fn move_entries(shared: &Arc<Shared>, segment: u32) -> Result<(), StoreError> {
    let groups: Vec<_> = shared.groups.lock().values().cloned().collect();
    let mut budget = MOVE_BYTES;
    for group in groups {
        let mut found: Vec<(u64, Slot)> = Vec::new();
        for (index, slot) in group.lock().slots() {
            if slot.place.segment == segment && budget > 0 {
                budget = budget.saturating_sub(slot.place.bytes as usize);
                found.push((index, *slot));
            }
        }
        move_of_group(shared, &group, &found)?;
    }
    let weak = Arc::downgrade(shared);
    let done = Box::new(move |_| {
        if let Some(shared) = weak.upgrade() {
            shared.chores.moving.store(false, Ordering::Release);
        }
    });
    let operation = Operation { group: None, generation: 0, records: 0, done: Some(done) };
    let _ = shared.queue.push(operation, &[]);
    Ok(())
}

fn move_of_group(
    shared: &Arc<Shared>,
    group: &Arc<Group>,
    found: &[(u64, Slot)],
) -> Result<(), StoreError> {
    let mut copies = Vec::new();
    for (index, slot) in found {
        // A missing segment means that the entry was purged meanwhile.
        let Some((header, payload)) = shared.load(group.id, *index, slot)? else {
            continue;
        };
        let position = LogPosition { term: slot.term, node: slot.node, index: *index };
        let mut copy = RecordHeader::new(Kind::Moved, group.id, Some(position));
        copy.entry_kind = header.entry_kind;
        copy.flags |= header.flags & FLAG_SEALED;
        copies.push((*index, *slot, Encoded::new(copy, payload)));
    }
    let entries = group.lock();
    copies.retain(|(index, slot, _)| entries.slot(*index) == Some(slot));
    let records: Vec<_> = copies.into_iter().map(|(_, _, record)| record).collect();
    if records.is_empty() {
        return Ok(());
    }
    let operation = Operation {
        group: Some(Arc::clone(group)),
        generation: entries.generation(),
        records: 0,
        done: None,
    };
    // Under the group's lock, so that no truncation comes between the check and the queue.
    let _ = shared.queue.push_entries(operation, &records);
    Ok(())
}
