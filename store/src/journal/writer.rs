//! The writer: turns one chunk of the queue into one batch, one run of writes and one barrier
//! (station 6, rule W2).
//!
//! Law: a batch is written only after the one before it was synced, and completions run only after
//! the barrier, in the order of submission, on failure too. After the first failure nothing is
//! written any more. It never retries.

use super::LogPosition;
use super::format::{
    BATCH_HEADER_BYTES, BatchHeader, FLAG_CHECKPOINT, FLAG_SEAL, Kind, RECORD_HEADER_BYTES,
    RecordHeader, SEGMENT_HEADER_BYTES, align, body_check,
};
use super::queue::{Chunk, Encoded};
use super::scrub::Reach;
use super::segments::{Place, Segment};
use super::shared::Shared;
use super::written::Written;
use crate::error::StoreError;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes that every segment keeps for the batch that says that nothing follows.
pub(crate) const SEAL_BYTES: u64 = BATCH_HEADER_BYTES as u64;

/// State of the writer; owned by whoever writes.
pub(crate) struct Writer {
    /// Where the next batch goes.
    pub(crate) active: Segment,
    pub(crate) offset: u64,
    /// Number of the next batch.
    pub(crate) number: u64,
    /// Chain value of the last batch.
    pub(crate) chain: u32,
    /// The next batch must begin with the state of all groups.
    pub(crate) begins_segment: bool,
    /// State of every group as of the last batch.
    pub(crate) written: BTreeMap<u32, Written>,
    /// The oldest segment that is still needed, as last recorded.
    pub(crate) oldest: u32,
}

impl Writer {
    /// The writer of a new folder.
    pub(crate) fn begin(first: Segment) -> Self {
        Self {
            oldest: first.number,
            active: first,
            offset: SEGMENT_HEADER_BYTES as u64,
            number: 1,
            chain: 0,
            begins_segment: true,
            written: BTreeMap::new(),
        }
    }

    /// Bytes left for batches in the active segment.
    pub(crate) fn room(&self) -> u64 {
        self.active.capacity.saturating_sub(self.offset + SEAL_BYTES)
    }

    /// How far it has got.
    pub(crate) fn reach(&self) -> Reach {
        Reach { segment: self.active.number, offset: self.offset }
    }

    /// Writes a chunk and waits for the disk.
    fn write(&mut self, shared: &Shared, chunk: &mut Chunk) -> Result<(), StoreError> {
        if chunk.is_empty() {
            return Ok(()); // All that was submitted before is durable already.
        }
        let left = shared.segments.is_left(self.active.number);
        if !self.begins_segment && (left || align(chunk.buffer.len()) as u64 > self.room()) {
            self.roll(shared)?;
        }
        if self.begins_segment {
            self.prepend_checkpoint(chunk);
            let end = self.offset + align(chunk.buffer.len()) as u64 + SEAL_BYTES;
            shared.segments.grow(&mut self.active, end)?;
        }
        let flags = if self.begins_segment { FLAG_CHECKPOINT } else { 0 };
        self.settle(chunk, flags)?;
        shared.timed(|| self.put(&chunk.buffer))?;
        self.begins_segment = false;
        Ok(())
    }

    /// Gives every record its checksum and the batch its header, and takes the records into
    /// account.
    fn settle(&mut self, chunk: &mut Chunk, flags: u32) -> Result<(), StoreError> {
        let buffer = &mut chunk.buffer;
        let (mut at, mut body, mut records) = (BATCH_HEADER_BYTES, 0, 0);
        while at < buffer.len() {
            let header = RecordHeader::peek(&buffer[at..]).expect("the queue holds whole records");
            let end = at + header.bytes();
            let payload = &buffer[at + RECORD_HEADER_BYTES..end];
            match header.kind {
                Kind::Dropped => {
                    self.oldest = u32::try_from(header.position.index).unwrap_or(self.oldest)
                }
                Kind::Checkpoint => {}
                _ => {
                    let group = self.written.entry(header.group).or_default();
                    let applied = group.apply(&header, payload);
                    assert_eq!(applied, Ok(()), "group {}: calls were checked", header.group);
                }
            }
            let check = RecordHeader::settle(
                &mut buffer[at..end],
                self.active.salt,
                self.offset + at as u64,
            );
            body = body_check(body, check);
            records += 1;
            at = end;
        }
        buffer.resize(align(buffer.len()), 0);
        let bytes = u32::try_from(buffer.len()).expect("chunks are bounded far below 4 GiB");
        let header =
            BatchHeader { bytes, number: self.number, previous: self.chain, records, body, flags };
        self.chain = header.encode(buffer, self.active.salt, self.offset);
        self.number += 1;
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let name = || super::segments::segment_name(self.active.number);
        let file = &self.active.file;
        assert!(
            self.offset + bytes.len() as u64 <= self.active.capacity,
            "a batch fits its segment"
        );
        file.write_at(bytes, self.offset)
            .map_err(|error| StoreError::while_doing("write", name(), &error))?;
        let synced =
            if planted::bug(planted::Bug::AckBeforeFsync) { Ok(()) } else { file.sync_data() };
        let synced = if planted::bug(planted::Bug::FailedFsyncIgnored) { Ok(()) } else { synced };
        synced.map_err(|error| StoreError::while_doing("sync", name(), &error))?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// Ends the active segment and goes on in the next one. The next one exists durably before this
    /// one says that it ends, so that a sealed segment always has a successor.
    fn roll(&mut self, shared: &Shared) -> Result<(), StoreError> {
        let next = shared.segments.next()?;
        let mut seal = [0; BATCH_HEADER_BYTES];
        let header = BatchHeader {
            bytes: BATCH_HEADER_BYTES as u32,
            number: self.number,
            previous: self.chain,
            records: 0,
            body: 0,
            flags: FLAG_SEAL,
        };
        self.chain = header.encode(&mut seal, self.active.salt, self.offset);
        self.number += 1;
        shared.timed(|| self.put(&seal))?;
        self.active = next;
        self.offset = SEGMENT_HEADER_BYTES as u64;
        self.begins_segment = true;
        Ok(())
    }

    /// Records that say all that older segments said, apart from entries.
    fn checkpoint(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut put = |header: RecordHeader, payload: Vec<u8>| {
            let record = Encoded::new(header, Bytes::from(payload));
            record.write_to(&mut bytes);
        };
        let oldest = LogPosition { term: 0, node: 0, index: u64::from(self.oldest) };
        put(RecordHeader::new(Kind::Dropped, 0, Some(oldest)), Vec::new());
        for (group, written) in &self.written {
            put(RecordHeader::new(Kind::Checkpoint, *group, None), written.encode());
        }
        bytes
    }

    fn prepend_checkpoint(&self, chunk: &mut Chunk) {
        let checkpoint = self.checkpoint();
        chunk.buffer.splice(BATCH_HEADER_BYTES..BATCH_HEADER_BYTES, checkpoint);
    }
}

/// Deals with one chunk, from the first byte to the last completion.
pub(crate) fn write_chunk(shared: &Arc<Shared>, writer: &mut Writer, mut chunk: Chunk) {
    let taken = chunk.buffer.len();
    let result = match shared.fatal.first() {
        Some(first) => Err(first.as_poison()),
        None => writer.write(shared, &mut chunk).map_err(|error| match error {
            // Not even what the reserve was kept for could be written.
            StoreError::Full { .. } => error.as_poison(),
            error => error,
        }),
    };
    if let Err(error) = &result {
        shared.fatal.raise(error);
    }
    if result.is_ok() && !chunk.is_empty() {
        *shared.reach.lock() = writer.reach();
        publish(shared, writer, &chunk);
        shared.counters.count(&chunk);
    }
    let completions: Vec<_> =
        chunk.operations.drain(..).filter_map(|operation| operation.done).collect();
    shared.queue.finished(chunk, taken - BATCH_HEADER_BYTES, writer.room());
    for done in completions {
        done(result.clone());
    }
    if result.is_ok() {
        super::chores::look_around(shared, writer);
    }
}

/// Tells the groups where their entries are now.
fn publish(shared: &Shared, writer: &Writer, chunk: &Chunk) {
    let begin = writer.offset - chunk.buffer.len() as u64;
    let mut at = BATCH_HEADER_BYTES;
    let mut next = || {
        let header = RecordHeader::peek(&chunk.buffer[at..]).expect("settled a moment ago");
        let place = Place {
            segment: writer.active.number,
            offset: u32::try_from(begin + at as u64).expect("segments are smaller than 4 GiB"),
            bytes: u32::try_from(header.bytes()).expect("payloads are bounded"),
        };
        at += header.bytes();
        (header, place)
    };
    let of_calls: u32 = chunk.operations.iter().map(|operation| operation.records).sum();
    let all = count_records(chunk);
    for _ in of_calls..all {
        next(); // The checkpoint's.
    }
    for operation in &chunk.operations {
        let mut records = std::iter::repeat_with(&mut next).take(operation.records as usize);
        if let Some(group) = &operation.group {
            let places =
                records.by_ref().map(|(header, place)| (header.kind, header.position.index, place));
            let cache_bytes_max = shared.config.cache_bytes_per_group;
            group.publish(operation.generation, places, &shared.segments, cache_bytes_max);
        }
        records.for_each(drop);
    }
}

/// The number of records as the batch's header has it.
fn count_records(chunk: &Chunk) -> u32 {
    super::format::u32_at(&chunk.buffer, 20).expect("a batch has a header")
}

/// Empties the queue on the caller's own time, unless somebody up the stack is already doing so.
pub(crate) fn pump(shared: &Arc<Shared>) {
    loop {
        while let Some(true) = step(shared) {}
        let Some(_idle) = shared.writer.try_lock() else {
            return;
        };
        if !shared.chores.run_pending(shared) {
            return;
        }
    }
}

/// Writes one batch. `None` if somebody else is writing, `Some(false)` if there was nothing to do.
pub(crate) fn step(shared: &Arc<Shared>) -> Option<bool> {
    let mut writer = shared.writer.try_lock()?;
    let Some(chunk) = shared.queue.take() else {
        return Some(false);
    };
    write_chunk(shared, &mut writer, chunk);
    Some(true)
}

/// The writer's thread.
pub(crate) fn run(shared: &Arc<Shared>) {
    let _guard = shared.guard("writer");
    let mut writer = shared.writer.lock();
    while let Some(chunk) = shared.queue.wait() {
        write_chunk(shared, &mut writer, chunk);
    }
}
