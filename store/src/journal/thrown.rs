//! Segments made of any bytes, read back as after a stop: for tests that throw bytes.
//!
//! Checksums are hard to guess, so bytes are also taken for what batches and records say, and the checksums are made
//! right: what lies behind them must hold, too. Law: damage is an error that names the place, never a panic.

use std::sync::Arc;

use super::format::{
    BATCH_HEADER_BYTES, BatchHeader, RECORD_HEADER_BYTES, RecordHeader, SegmentHeader, align,
    body_check,
};
use super::recovery::recover;
use super::segments::segment_name;
use super::{JournalConfig, LogPosition};
use crate::disk::{Disk, MemoryDisk, Pace};
use crate::error::StoreError;

const IDENTITY: [u8; 16] = [7; 16];
/// The segment that is thrown.
const NUMBER: u32 = 1;

/// A segment whose first page is good and whose rest is `bytes`.
pub fn segment(bytes: &[u8]) {
    let header = SegmentHeader { identity: IDENTITY, segment: NUMBER, epoch: 1, made_bytes: 0 };
    // Any answer is good that is one.
    let _ = read(&[&header.encode(), bytes].concat());
    let _ = SegmentHeader::decode(bytes);
}

/// A segment whose batches say what `bytes` say, under checksums that are right.
pub fn records(bytes: &[u8]) {
    let _ = read(&batches(bytes));
}

fn batches(bytes: &[u8]) -> Vec<u8> {
    let header = SegmentHeader { identity: IDENTITY, segment: NUMBER, epoch: 1, made_bytes: 0 };
    let mut segment = header.encode();
    let mut bytes = bytes.iter().copied();
    let (mut number, mut chain) = (1, 0);
    while let Some(flags) = bytes.next() {
        let offset = segment.len();
        let mut batch = vec![0; BATCH_HEADER_BYTES];
        let (mut count, mut body) = (0, 0);
        for _ in 0..bytes.next().unwrap_or_default() % 8 {
            let Some(record) = record(&mut bytes) else { break };
            let at = offset + batch.len();
            let from = batch.len();
            batch.extend(record);
            body = body_check(
                body,
                RecordHeader::settle(&mut batch[from..], header.salt(), at as u64),
            );
            count += 1;
        }
        batch.resize(align(batch.len()), 0);
        let head = BatchHeader {
            bytes: u32::try_from(batch.len()).expect("eight small records"),
            number,
            previous: chain,
            records: count,
            body,
            flags: flags.into(),
        };
        chain = head.encode(&mut batch, header.salt(), offset as u64);
        number += 1;
        segment.extend(batch);
    }
    segment
}

fn record(bytes: &mut impl Iterator<Item = u8>) -> Option<Vec<u8>> {
    let [kind, entry_kind, flags, group] =
        [bytes.next()?, bytes.next()?, bytes.next()?, bytes.next()?];
    let [term, node, index, length] = [bytes.next()?, bytes.next()?, bytes.next()?, bytes.next()?];
    // A kind that nobody knows cannot be made through the types: any header does for it.
    let mut raw = [0; RECORD_HEADER_BYTES];
    raw[4] = kind;
    let mut header = RecordHeader::peek(&raw)?;
    let payload: Vec<u8> = bytes.by_ref().take(length.into()).collect();
    let wide = |byte: u8| if byte == u8::MAX { u64::MAX } else { byte.into() };
    header.entry_kind = entry_kind;
    header.flags = flags;
    header.group = if group == u8::MAX { u32::MAX } else { group.into() };
    header.position = LogPosition { term: wide(term), node: wide(node), index: wide(index) };
    header.payload = u32::try_from(payload.len()).expect("at most 255");
    Some([header.encode(&payload).as_slice(), &payload].concat())
}

fn read(segment: &[u8]) -> Result<(), StoreError> {
    let disk = MemoryDisk::new(Pace::Stepped);
    let file = disk.create(&segment_name(NUMBER)).expect("memory takes it");
    file.write_at(segment, 0).expect("memory takes it");
    file.sync_data().expect("memory takes it");
    disk.sync_folder().expect("memory takes it");
    recover(Arc::new(disk), &JournalConfig::new(IDENTITY)).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::super::format::{FLAG_CHECKPOINT, Kind};
    use super::super::written::Written;
    use super::*;

    /// Bytes for [`batches`]: one batch with the checkpoint of one group.
    fn checkpoint(written: &Written) -> Vec<u8> {
        let payload = written.encode();
        let flags = u8::try_from(FLAG_CHECKPOINT).expect("one of the low bits");
        let length = u8::try_from(payload.len()).expect("no vote, nothing committed");
        let record = [Kind::Checkpoint as u8, 0, 0, 1, 0, 0, 0, length];
        [&[flags, 1], record.as_slice(), &payload].concat()
    }

    #[test]
    fn a_checkpoint_that_claims_entries_which_are_nowhere_is_damage_and_takes_no_memory() {
        let last = |index| Some(LogPosition { term: 1, node: 1, index });
        for entries in [1, 1000, 1 << 32, u64::MAX - 1] {
            let claimed = Written { first: 1, last: last(entries), ..Written::default() };
            let error = read(&batches(&checkpoint(&claimed))).expect_err("they are not there");
            assert!(error.to_string().contains("entry 1 of group 1 is in no segment"), "{error}");
        }
    }

    #[test]
    fn entries_that_a_checkpoint_claims_and_a_later_record_purges_are_not_missed() {
        let last = Some(LogPosition { term: 1, node: 1, index: u64::from(u32::MAX) });
        let claimed = Written { first: 1, last, ..Written::default() };
        // All ones: a position no entry can be beyond.
        let purge = [0, 1, Kind::Purge as u8, 0, 0, 1, 1, 1, u8::MAX, 0];
        let segment = batches(&[checkpoint(&claimed), purge.to_vec()].concat());
        read(&segment).expect("nothing is needed that is not there");
    }
}
