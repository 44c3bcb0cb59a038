//! Chunks of a snapshot in transfer: a kind, a checksum, then the body. Each chunk is checked by
//! itself; the last one says how many rows there were, so that a cut stream is never a whole one.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use prost::Message as _;
use proto::peer as wire;

use super::malformed;
use crate::Error;

const ROWS: u8 = 1;
const END: u8 = 2;
/// Kind and checksum.
const HEAD_BYTES: usize = 5;

/// One chunk.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Chunk {
    /// Rows in key order.
    Rows(Vec<(Bytes, Bytes)>),
    /// The end, with the number of rows before it.
    End(u64),
}

pub(crate) fn encode_rows(rows: Vec<(Bytes, Bytes)>) -> Bytes {
    let rows = rows.into_iter().map(|(key, value)| wire::SnapshotRow { key, value }).collect();
    frame(ROWS, &wire::SnapshotRows { rows }.encode_to_vec())
}

pub(crate) fn encode_end(rows: u64) -> Bytes {
    frame(END, &rows.to_be_bytes())
}

/// A chunk of any kind and body, with its checksum.
pub(crate) fn frame(kind: u8, body: &[u8]) -> Bytes {
    let mut chunk = BytesMut::with_capacity(HEAD_BYTES + body.len());
    chunk.put_u8(kind);
    chunk.put_u32(checksum(kind, body));
    chunk.put_slice(body);
    chunk.freeze()
}

fn checksum(kind: u8, body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&[kind]), body)
}

pub(crate) fn decode_chunk(mut chunk: Bytes) -> Result<Chunk, Error> {
    const WHAT: &str = "snapshot chunk";
    if chunk.len() < HEAD_BYTES {
        return Err(malformed(WHAT, "short"));
    }
    let kind = chunk.get_u8();
    let sum = chunk.get_u32();
    if sum != checksum(kind, &chunk) {
        return Err(malformed(WHAT, "checksum"));
    }
    match kind {
        ROWS => {
            let rows = wire::SnapshotRows::decode(chunk).map_err(|e| malformed(WHAT, e))?;
            Ok(Chunk::Rows(rows.rows.into_iter().map(|row| (row.key, row.value)).collect()))
        }
        END if chunk.len() == size_of::<u64>() => Ok(Chunk::End(chunk.get_u64())),
        END => Err(malformed(WHAT, "end")),
        _ => Err(malformed(WHAT, "kind")),
    }
}
