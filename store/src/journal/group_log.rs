//! The handle of one group: the calls that Raft makes.
//!
//! Law: calls of one group are in the order in which they were made; what they did is visible when
//! they return. A call that makes no sense (a gap, entries before the purged position) is a broken
//! invariant above and panics, before anything is changed.

use super::format::{Kind, PAYLOAD_BYTES_MAX, RecordHeader};
use super::group::{Entries, Group, Slot};
use super::queue::{Encoded, Operation};
use super::segments::Place;
use super::shared::Shared;
use super::written::Written;
use super::{Done, GroupState, LogPosition, LogRecord, VOTE_BYTES_MAX};
use crate::error::StoreError;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;

/// A read that meets a segment which goes away under it starts again; an entry goes away at most
/// twice (copied, purged).
const READ_ATTEMPTS_MAX: usize = 8;

/// The log of one group; cheap to clone.
#[derive(Clone)]
pub struct GroupLog {
    shared: Arc<Shared>,
    group: Arc<Group>,
}

enum Found {
    Ready(LogRecord),
    OnDisk(u64, Slot),
}

impl GroupLog {
    pub(crate) fn new(shared: Arc<Shared>, id: u32) -> Self {
        let group =
            Arc::clone(
                shared.groups.lock().entry(id).or_insert_with(|| {
                    Arc::new(Group::new(id, Written::default(), VecDeque::new()))
                }),
            );
        Self { shared, group }
    }

    /// Which group this is.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.group.id
    }

    /// Appends records; they are readable on return, `done` runs after the barrier.
    /// [`StoreError::Full`] leaves the log as it was.
    ///
    /// # Panics
    /// When the first index does not follow the last record, or the indices have gaps.
    pub fn append(&self, records: Vec<LogRecord>, done: Done) {
        self.shared.queue.wait_for_room();
        let encoded: Vec<_> = records.iter().map(|record| self.encode(record)).collect();
        let mut entries = self.group.lock();
        let mut written = entries.written.clone();
        for record in &records {
            let header = RecordHeader::new(Kind::Entry, self.group.id, Some(record.position()));
            let applied = written.apply(&header, &[]);
            assert_eq!(applied, Ok(()), "group {}: appends are dense", self.group.id);
        }
        let operation = self.operation(&entries, done);
        if let Err(refused) = self.shared.queue.push_entries(operation, &encoded) {
            drop(entries);
            if refused.full {
                self.shared.chores.prepare();
                self.shared.attend();
            }
            refused.answer(self.shared.location());
            return;
        }
        let added = records.into_iter().zip(&encoded).map(|(record, encoded)| {
            let bytes = u32::try_from(encoded.bytes()).expect("payloads are bounded");
            let slot = Slot {
                term: record.term,
                node: record.node,
                place: Place { bytes, ..Place::default() },
                generation: 0,
                entry_kind: record.kind,
            };
            (slot, record.payload)
        });
        entries.extend(written, added);
        drop(entries);
        self.shared.attend();
    }

    fn encode(&self, record: &LogRecord) -> Encoded {
        assert!(record.payload.len() <= PAYLOAD_BYTES_MAX, "payloads have at most 64 MiB");
        let mut header = RecordHeader::new(Kind::Entry, self.group.id, Some(record.position()));
        header.entry_kind = record.kind;
        let payload = self.shared.seal(&mut header, record.payload.clone());
        Encoded::new(header, payload)
    }

    fn operation(&self, entries: &Entries, done: Done) -> Operation {
        Operation {
            group: Some(Arc::clone(&self.group)),
            generation: entries.generation(),
            records: 0,
            done: Some(done),
        }
    }

    /// Saves the vote; durable when `done` runs, and before any entry appended later is.
    ///
    /// # Panics
    /// When the vote has more than [`VOTE_BYTES_MAX`] bytes.
    pub fn save_vote(&self, vote: Bytes, done: Done) {
        assert!(vote.len() <= VOTE_BYTES_MAX, "a vote is a few numbers");
        let header = RecordHeader::new(Kind::Vote, self.group.id, None);
        self.change(header, vote, done);
    }

    /// Saves the committed position with the next batch, whenever that is. A later one replaces it.
    ///
    /// # Panics
    /// When it has more than [`VOTE_BYTES_MAX`] bytes.
    pub fn save_committed(&self, committed: Bytes) {
        assert!(committed.len() <= VOTE_BYTES_MAX, "a committed position is a few numbers");
        let mut entries = self.group.lock();
        entries.written.committed = Some(committed.clone());
        self.shared.queue.set_lazy(self.group.id, committed);
    }

    /// Removes all records after `index`; all that there are, if `None`.
    ///
    /// # Panics
    /// When `index` lies before the purged position.
    pub fn truncate_after(&self, index: Option<u64>, done: Done) {
        let entries = self.group.lock();
        let last = entries.written.last;
        let keep = match index {
            None => entries.written.purged,
            Some(index) if last.is_none_or(|last| last.index <= index) => last,
            Some(index) => {
                let purged = entries.written.purged.map(|purged| purged.index);
                assert!(purged <= Some(index), "group {}: {index} was purged", self.group.id);
                entries.position(index)
            }
        };
        self.change_locked(
            entries,
            RecordHeader::new(Kind::Truncate, self.group.id, keep),
            Bytes::new(),
            done,
        );
    }

    /// Removes all records up to and including `upto`, which may lie beyond the last one (after a
    /// snapshot). The space is given back in the background. Purging what was purged changes
    /// nothing.
    pub fn purge(&self, upto: LogPosition, done: Done) {
        let entries = self.group.lock();
        let upto = match entries.written.purged {
            Some(purged) if purged.index >= upto.index => purged,
            _ => upto,
        };
        self.change_locked(
            entries,
            RecordHeader::new(Kind::Purge, self.group.id, Some(upto)),
            Bytes::new(),
            done,
        );
    }

    fn change(&self, header: RecordHeader, payload: Bytes, done: Done) {
        self.change_locked(self.group.lock(), header, payload, done);
    }

    fn change_locked(
        &self,
        mut entries: parking_lot::MutexGuard<'_, Entries>,
        header: RecordHeader,
        payload: Bytes,
        done: Done,
    ) {
        let mut written = entries.written.clone();
        let applied = written.apply(&header, &payload);
        assert_eq!(applied, Ok(()), "group {}", self.group.id);
        let operation = self.operation(&entries, done);
        if let Err(refused) = self.shared.queue.push(operation, &[Encoded::new(header, payload)]) {
            drop(entries);
            refused.answer(self.shared.location());
            return;
        }
        let first_before = entries.written.first;
        entries.written = written;
        entries.shrink(first_before, &self.shared.segments);
        drop(entries);
        self.shared.attend();
    }

    /// Reads records of `[from, to_exclusive)`, as far as they exist, until their payloads exceed
    /// `bytes_max`; at least one if there is one.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`], [`StoreError::WrongKey`] or a failure of the disk. Each of them is
    /// fatal for the node.
    pub fn read(
        &self,
        from: u64,
        to_exclusive: u64,
        bytes_max: usize,
    ) -> Result<Vec<LogRecord>, StoreError> {
        'attempts: for _ in 0..READ_ATTEMPTS_MAX {
            let found = self.find(from, to_exclusive, bytes_max);
            let mut records = Vec::with_capacity(found.len());
            for found in found {
                match found {
                    Found::Ready(record) => records.push(record),
                    Found::OnDisk(index, slot) => {
                        let Some((header, payload)) =
                            self.shared.load(self.group.id, index, &slot)?
                        else {
                            continue 'attempts;
                        };
                        let payload = self.shared.unseal(&header, payload)?;
                        let LogPosition { term, node, index } = header.position;
                        records.push(LogRecord {
                            index,
                            term,
                            node,
                            kind: header.entry_kind,
                            payload,
                        });
                    }
                }
            }
            return Ok(records);
        }
        let what = format!("entry {from} of group {} is in a segment that is gone", self.group.id);
        Err(StoreError::corrupt(self.shared.location(), 0, what))
    }

    fn find(&self, from: u64, to_exclusive: u64, bytes_max: usize) -> Vec<Found> {
        let entries = self.group.lock();
        let mut found = Vec::new();
        let mut bytes = 0;
        for index in from.max(entries.written.first)..to_exclusive {
            let Some(slot) = entries.slot(index) else {
                break;
            };
            let payload = entries.cached(index);
            bytes += payload.map_or(slot.place.bytes as usize, Bytes::len);
            if bytes > bytes_max && !found.is_empty() {
                break;
            }
            found.push(match payload.cloned() {
                Some(payload) => Found::Ready(LogRecord {
                    index,
                    term: slot.term,
                    node: slot.node,
                    kind: slot.entry_kind,
                    payload,
                }),
                None => Found::OnDisk(index, *slot),
            });
        }
        found
    }

    /// Term and node of the record at `index`, without reading it; also of the purged position.
    #[must_use]
    pub fn position(&self, index: u64) -> Option<LogPosition> {
        self.group.lock().position(index)
    }

    /// What the group has, with all that was submitted so far.
    #[must_use]
    pub fn state(&self) -> GroupState {
        self.group.lock().state()
    }
}
