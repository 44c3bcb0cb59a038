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

const IDENTITY: [u8; 16] = [7; 16];
/// The segment that is thrown.
const NUMBER: u32 = 1;

/// A segment whose first page is good and whose rest is `bytes`.
pub fn segment(bytes: &[u8]) {
    let header = SegmentHeader { identity: IDENTITY, segment: NUMBER, epoch: 1, made_bytes: 0 };
    read(&[&header.encode(), bytes].concat());
    let _ = SegmentHeader::decode(bytes);
}

/// A segment whose batches say what `bytes` say, under checksums that are right.
pub fn records(bytes: &[u8]) {
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
    read(&segment);
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

fn read(segment: &[u8]) {
    let disk = MemoryDisk::new(Pace::Stepped);
    let file = disk.create(&segment_name(NUMBER)).expect("memory takes it");
    file.write_at(segment, 0).expect("memory takes it");
    file.sync_data().expect("memory takes it");
    disk.sync_folder().expect("memory takes it");
    // Any answer is good that is one.
    let _ = recover(Arc::new(disk), &JournalConfig::new(IDENTITY));
}
