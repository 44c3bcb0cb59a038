//! The queue in front of the writer: what all groups submit, in one order, already encoded.
//!
//! Law W1: one order for the whole journal. Callers encode under a short lock and wake the writer
//! only if it sleeps; while one batch is being synced the next one gathers here. Bounded: a caller
//! waits when too much is queued (on a disk with threads; without threads the caller itself empties
//! the queue).

use super::Done;
use super::format::{BATCH_HEADER_BYTES, Kind, RECORD_HEADER_BYTES, RecordHeader};
use super::group::Group;
use crate::error::StoreError;
use bytes::Bytes;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// More than this waiting means that the disk stands still; the rooms above bound their proposals
/// far below.
pub(crate) const QUEUE_BYTES_MAX: usize = 64 << 20;
/// Buffers kept for reuse; one is being written, one fills.
const SPARE_BUFFERS: usize = 2;
/// A spare buffer larger than this is given back.
const SPARE_BUFFER_BYTES_MAX: usize = 8 << 20;

/// One record as submitted.
pub(crate) struct Encoded {
    header: [u8; RECORD_HEADER_BYTES],
    payload: Bytes,
}

impl Encoded {
    pub(crate) fn new(mut header: RecordHeader, payload: Bytes) -> Self {
        header.payload = u32::try_from(payload.len()).expect("payloads are bounded by the caller");
        Self { header: header.encode(&payload), payload }
    }

    pub(crate) fn bytes(&self) -> usize {
        RECORD_HEADER_BYTES + self.payload.len()
    }

    pub(crate) fn write_to(&self, buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(&self.header);
        buffer.extend_from_slice(&self.payload);
    }
}

/// Records of one call, or the part of them that one chunk holds.
pub(crate) struct Operation {
    /// To whom the places of the records are told.
    pub(crate) group: Option<Arc<Group>>,
    /// The group's generation when the call was made.
    pub(crate) generation: u32,
    /// Number of records.
    pub(crate) records: u32,
    /// Runs after the barrier.
    pub(crate) done: Option<Done>,
}

/// What becomes one batch.
pub(crate) struct Chunk {
    /// Room for the batch's header, then the records.
    pub(crate) buffer: Vec<u8>,
    pub(crate) operations: Vec<Operation>,
}

impl Chunk {
    fn new(mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        buffer.resize(BATCH_HEADER_BYTES, 0);
        Self { buffer, operations: Vec::new() }
    }

    /// Whether there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.len() == BATCH_HEADER_BYTES
    }
}

#[derive(Default)]
struct State {
    chunks: VecDeque<Chunk>,
    /// Queued and not yet durable, with the batch that is being written.
    bytes: usize,
    /// Committed positions that travel with the next batch.
    lazy: BTreeMap<u32, Bytes>,
    spare: Vec<Vec<u8>>,
    asleep: bool,
    closed: bool,
    /// The disk could not give another segment.
    full: bool,
    /// Bytes left in the active segment.
    room: u64,
}

/// See the module.
pub(crate) struct Queue {
    state: Mutex<State>,
    work: Condvar,
    drained: Condvar,
    chunk_bytes_max: usize,
    /// Room that entries leave to votes, truncations and purges on a full disk.
    reserve: u64,
}

impl Queue {
    pub(crate) fn new(chunk_bytes_max: usize, reserve: u64, room: u64) -> Self {
        let state = Mutex::new(State { room, ..State::default() });
        let (work, drained) = (Condvar::new(), Condvar::new());
        Self { state, work, drained, chunk_bytes_max, reserve }
    }

    /// Waits until there is room for another call (for threads).
    pub(crate) fn wait_for_room(&self) {
        let mut state = self.state.lock();
        while state.bytes > QUEUE_BYTES_MAX && !state.closed {
            self.drained.wait(&mut state);
        }
    }

    /// Queues records of one call. Gives the completion back when the journal is closed.
    pub(crate) fn push(&self, operation: Operation, records: &[Encoded]) -> Result<(), Refused> {
        self.push_to(self.state.lock(), operation, records)
    }

    /// As [`Queue::push`] for entries, which a full disk refuses.
    pub(crate) fn push_entries(
        &self,
        operation: Operation,
        records: &[Encoded],
    ) -> Result<(), Refused> {
        let state = self.state.lock();
        if state.full {
            let bytes: usize = records.iter().map(Encoded::bytes).sum();
            if (state.bytes + bytes) as u64 + self.reserve > state.room {
                return Err(Refused { done: operation.done, full: true });
            }
        }
        self.push_to(state, operation, records)
    }

    fn push_to(
        &self,
        mut state: MutexGuard<'_, State>,
        mut operation: Operation,
        records: &[Encoded],
    ) -> Result<(), Refused> {
        if state.closed {
            return Err(Refused { done: operation.done, full: false });
        }
        let done = operation.done.take();
        operation.records = 0;
        for record in records {
            let bytes = record.bytes();
            let fits = state.chunks.back().is_some_and(|chunk| {
                chunk.buffer.len() + bytes <= self.chunk_bytes_max || chunk.is_empty()
            });
            if !fits {
                let part = Operation { group: operation.group.clone(), done: None, ..operation };
                if part.records > 0 {
                    let chunk = state.chunks.back_mut().expect("it holds the records so far");
                    chunk.operations.push(part);
                    operation.records = 0;
                }
                let buffer = state.spare.pop().unwrap_or_default();
                state.chunks.push_back(Chunk::new(buffer));
            }
            state.bytes += bytes;
            let chunk = state.chunks.back_mut().expect("it was just made");
            record.write_to(&mut chunk.buffer);
            operation.records += 1;
        }
        if state.chunks.is_empty() {
            let buffer = state.spare.pop().unwrap_or_default();
            state.chunks.push_back(Chunk::new(buffer));
        }
        operation.done = done;
        state.chunks.back_mut().expect("it was just made").operations.push(operation);
        if std::mem::take(&mut state.asleep) {
            drop(state);
            self.work.notify_one();
        }
        Ok(())
    }

    /// Replaces the committed position that travels with the next batch. Wakes nobody.
    pub(crate) fn set_lazy(&self, group: u32, committed: Bytes) {
        self.state.lock().lazy.insert(group, committed);
    }

    /// The next batch, if there is one.
    pub(crate) fn take(&self) -> Option<Chunk> {
        Self::take_from(&mut self.state.lock())
    }

    /// The next batch; waits for it. `None` once the queue is closed and empty.
    pub(crate) fn wait(&self) -> Option<Chunk> {
        let mut state = self.state.lock();
        loop {
            if let Some(chunk) = Self::take_from(&mut state) {
                return Some(chunk);
            }
            if state.closed {
                return None;
            }
            state.asleep = true;
            self.work.wait(&mut state);
            state.asleep = false;
        }
    }

    fn take_from(state: &mut State) -> Option<Chunk> {
        let mut chunk = match state.chunks.pop_front() {
            Some(chunk) => chunk,
            None if state.closed && !state.lazy.is_empty() => Chunk::new(Vec::new()),
            None => return None,
        };
        if state.chunks.is_empty() && !state.lazy.is_empty() {
            for (group, committed) in std::mem::take(&mut state.lazy) {
                let record =
                    Encoded::new(RecordHeader::new(Kind::Committed, group, None), committed);
                state.bytes += record.bytes();
                record.write_to(&mut chunk.buffer);
                let plain = Operation { group: None, generation: 0, records: 1, done: None };
                chunk.operations.push(plain);
            }
        }
        Some(chunk)
    }

    /// Tells that a taken batch has been dealt with and how much room the active segment has left.
    pub(crate) fn finished(&self, chunk: Chunk, taken_bytes: usize, room: u64) {
        let mut state = self.state.lock();
        state.bytes -= taken_bytes;
        state.room = room;
        if state.spare.len() < SPARE_BUFFERS && chunk.buffer.capacity() <= SPARE_BUFFER_BYTES_MAX {
            state.spare.push(chunk.buffer);
        }
        drop(state);
        self.drained.notify_all();
    }

    pub(crate) fn set_full(&self, full: bool) {
        self.state.lock().full = full;
    }

    pub(crate) fn is_full(&self) -> bool {
        self.state.lock().full
    }

    pub(crate) fn queued_bytes(&self) -> usize {
        self.state.lock().bytes
    }

    /// Nothing more is accepted; the writer empties the queue and ends.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.work.notify_all();
        self.drained.notify_all();
    }
}

/// A call that was not queued.
pub(crate) struct Refused {
    done: Option<Done>,
    /// Because the disk is full, not because the journal is closed.
    pub(crate) full: bool,
}

impl Refused {
    /// Tells the caller.
    pub(crate) fn answer(self, path: String) {
        let error = if self.full { StoreError::Full { path } } else { StoreError::Closed };
        if let Some(done) = self.done {
            done(Err(error));
        }
    }
}
