//! Doors for those who throw bytes at what no other room may call: each reads, writes what it read, and reads it again.
//! For tests alone; nothing is decided here.

use bytes::Bytes;

use crate::codec;
use store::LogRecord;

/// The law of every codec: what was written is read as the same, which is seen by writing it once more.
fn twice<T>(bytes: Bytes, decode: impl Fn(Bytes) -> Option<T>, encode: impl Fn(T) -> Bytes) {
    let Some(read) = decode(bytes) else { return };
    let written = encode(read);
    let again = decode(written.clone()).expect("what is written here is read here");
    assert_eq!(encode(again), written, "it is what it was");
}

/// A call on the raft lane.
pub fn call(bytes: Bytes) {
    twice(bytes, |b| codec::decode_call(b).ok(), |(group, call)| codec::encode_call(group, call));
}

/// An answer on the raft lane.
pub fn answer(bytes: Bytes) {
    twice(bytes, |b| codec::decode_answer(b).ok(), |answer| codec::encode_answer(&answer));
}

/// The head of a snapshot.
pub fn snapshot_head(bytes: Bytes) {
    twice(bytes, |b| codec::decode_head(b).ok(), |head| codec::encode_head(&head));
}

/// A chunk of a snapshot: as it is, and with a checksum that is right, so that what lies behind it is reached.
pub fn snapshot_chunk(bytes: &[u8]) {
    let encode = |chunk| match chunk {
        codec::Chunk::Rows(rows) => codec::encode_rows(rows),
        codec::Chunk::End(rows) => codec::encode_end(rows),
    };
    twice(Bytes::copy_from_slice(bytes), |b| codec::decode_chunk(b).ok(), encode);
    if let Some((kind, body)) = bytes.split_first() {
        twice(codec::frame(*kind, body), |b| codec::decode_chunk(b).ok(), encode);
    }
}

/// What rests on disk; the first byte says which.
pub fn disk(bytes: &[u8]) {
    let Some((which, bytes)) = bytes.split_first() else { return };
    let bytes = Bytes::copy_from_slice(bytes);
    match which % 4 {
        0 => twice(bytes, |b| codec::decode_vote(b).ok(), |vote| codec::encode_vote(&vote)),
        1 => twice(bytes, |b| codec::decode_position(b).ok(), |at| codec::encode_position(&at)),
        2 => twice(bytes, |b| codec::decode_membership(b).ok(), |m| codec::encode_membership(&m)),
        _ => record(&bytes),
    }
}

fn record(bytes: &Bytes) {
    let [index, term, node, kind, ..] = **bytes else { return };
    let (index, term, node) = (index.into(), term.into(), node.into());
    let record = LogRecord { index, term, node, kind, payload: bytes.slice(4..) };
    let Ok(entry) = codec::decode_record(record) else { return };
    let written = codec::encode_record(entry);
    let again = codec::decode_record(written.clone()).expect("what is written here is read here");
    assert_eq!(codec::encode_record(again), written, "it is what it was");
}
