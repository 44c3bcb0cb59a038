//! The bytes of a segment: header, batches, records. The one place that knows offsets and
//! checksums.
//!
//! Law: a frame is valid only where it was written. Every checksum is seeded with a salt made of
//! the folder's identity, the segment's number and its epoch, and mixes in the frame's own offset,
//! so that bytes left over from an earlier life of a recycled file, or copied from elsewhere, never
//! pass. Every batch names the batch before it. All integers are little-endian. Decoding never
//! panics, whatever the bytes.

use crate::journal::LogPosition;

/// Version of the segment format.
pub(crate) const VERSION: u32 = 1;
/// The header block of a segment; one page, so that batches never share a sector with it.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 4096;
/// Header of a batch.
pub(crate) const BATCH_HEADER_BYTES: usize = 40;
/// Header of a record, before its payload.
pub(crate) const RECORD_HEADER_BYTES: usize = 40;
/// Batches begin at multiples of this, so that a search for a lost one can step.
pub(crate) const BATCH_ALIGN: usize = 8;
/// The largest payload of one record. Entries are bounded far below by the rooms above.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 64 << 20;

/// Where the checksum of a header with the segment's length stands.
const MADE_BYTES_END: usize = 56;

const SEGMENT_MAGIC: &[u8; 8] = b"SYNODJNL";
const BATCH_MAGIC: u32 = 0x5359_4e42;

const _: () = assert!(BATCH_HEADER_BYTES.is_multiple_of(BATCH_ALIGN));
const _: () = assert!(SEGMENT_HEADER_BYTES.is_multiple_of(BATCH_ALIGN));

/// Reads a little-endian `u32`; `None` past the end.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let part = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(part.try_into().expect("the slice has four bytes")))
}

/// Reads a little-endian `u64`; `None` past the end.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let part = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(part.try_into().expect("the slice has eight bytes")))
}

fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn put_u64(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

/// `len` rounded up to the alignment of batches.
pub(crate) fn align(len: usize) -> usize {
    len.next_multiple_of(BATCH_ALIGN)
}

/// Seeds every checksum of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Salt(u32);

/// What a segment's first page says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// Cluster and node.
    pub(crate) identity: [u8; 16],
    /// Number of the segment; never used twice in a folder.
    pub(crate) segment: u32,
    /// How often the folder had been opened when the segment was made.
    pub(crate) epoch: u64,
    /// The file's length when it became a segment; it never gets shorter. 0: made by a release that did not say.
    pub(crate) made_bytes: u64,
}

/// Why a segment header was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadHeader {
    /// Not a header, or damaged.
    Damaged,
    /// Written by another version of the format.
    Version(u32),
}

impl SegmentHeader {
    /// The header's page.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut page = vec![0; SEGMENT_HEADER_BYTES];
        page[..8].copy_from_slice(SEGMENT_MAGIC);
        put_u32(&mut page, 8, VERSION);
        page[12..28].copy_from_slice(&self.identity);
        put_u32(&mut page, 28, self.segment);
        put_u64(&mut page, 32, self.epoch);
        let check = crc32c::crc32c(&page[..40]);
        put_u32(&mut page, 40, check);
        put_u64(&mut page, 48, self.made_bytes);
        let check = crc32c::crc32c(&page[..MADE_BYTES_END]);
        put_u32(&mut page, MADE_BYTES_END, check);
        page
    }

    /// The version is looked at before the checksum: where the checksum is may change with the
    /// version.
    pub(crate) fn decode(page: &[u8]) -> Result<Self, BadHeader> {
        let damaged = BadHeader::Damaged;
        if page.get(..8) != Some(SEGMENT_MAGIC.as_slice()) {
            return Err(damaged);
        }
        let version = u32_at(page, 8).ok_or(damaged)?;
        if version != VERSION {
            return Err(BadHeader::Version(version));
        }
        let checked = page.get(..40).ok_or(damaged)?;
        if u32_at(page, 40) != Some(crc32c::crc32c(checked)) {
            return Err(damaged);
        }
        Ok(Self {
            identity: checked[12..28].try_into().expect("the slice has sixteen bytes"),
            segment: u32_at(page, 28).ok_or(damaged)?,
            epoch: u64_at(page, 32).ok_or(damaged)?,
            made_bytes: made_bytes(page).ok_or(damaged)?,
        })
    }

    /// The seed of this segment's checksums.
    pub(crate) fn salt(&self) -> Salt {
        let salt = crc32c::crc32c(&self.identity);
        let salt = crc32c::crc32c_append(salt, &self.segment.to_le_bytes());
        Salt(crc32c::crc32c_append(salt, &self.epoch.to_le_bytes()))
    }
}

/// Zeros where the first release of this format said nothing; otherwise a length and its own checksum.
fn made_bytes(page: &[u8]) -> Option<u64> {
    let said = page.get(44..MADE_BYTES_END + 4)?;
    if said.iter().all(|byte| *byte == 0) {
        return Some(0);
    }
    let checked = page.get(..MADE_BYTES_END)?;
    (u32_at(page, MADE_BYTES_END) == Some(crc32c::crc32c(checked))).then(|| u64_at(page, 48))?
}

/// The batch holds the state of all groups at its begin (the first batch of every segment does).
pub(crate) const FLAG_CHECKPOINT: u32 = 1;
/// Nothing follows in this segment.
pub(crate) const FLAG_SEAL: u32 = 2;

/// Header of one batch: what was written by one run of writes and covered by one barrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    /// Bytes of the batch with this header and the padding.
    pub(crate) bytes: u32,
    /// Counts 1, 2, 3 … over the whole journal.
    pub(crate) number: u64,
    /// Chain value of the batch before.
    pub(crate) previous: u32,
    /// Number of records.
    pub(crate) records: u32,
    /// Checksum over the records' checks.
    pub(crate) body: u32,
    /// [`FLAG_CHECKPOINT`], [`FLAG_SEAL`].
    pub(crate) flags: u32,
}

impl BatchHeader {
    /// Writes the header to the first bytes of `into` and returns its chain value.
    pub(crate) fn encode(&self, into: &mut [u8], salt: Salt, offset: u64) -> u32 {
        put_u32(into, 0, BATCH_MAGIC);
        put_u32(into, 4, self.bytes);
        put_u64(into, 8, self.number);
        put_u32(into, 16, self.previous);
        put_u32(into, 20, self.records);
        put_u32(into, 24, self.body);
        put_u32(into, 28, self.flags);
        put_u32(into, 32, 0);
        let check = Self::check(&into[..36], salt, offset);
        put_u32(into, 36, check);
        check
    }

    fn check(header: &[u8], salt: Salt, offset: u64) -> u32 {
        let check = crc32c::crc32c_append(salt.0, &offset.to_le_bytes());
        crc32c::crc32c_append(check, header)
    }

    /// The header at `offset` of the segment whose bytes are `segment`, with its chain value;
    /// `None` if there is no valid one.
    pub(crate) fn decode(segment: &[u8], salt: Salt, offset: usize) -> Option<(Self, u32)> {
        let header = segment.get(offset..offset.checked_add(BATCH_HEADER_BYTES)?)?;
        if u32_at(header, 0)? != BATCH_MAGIC {
            return None;
        }
        let check = u32_at(header, 36)?;
        if check != Self::check(&header[..36], salt, offset as u64) {
            return None;
        }
        let decoded = Self {
            bytes: u32_at(header, 4)?,
            number: u64_at(header, 8)?,
            previous: u32_at(header, 16)?,
            records: u32_at(header, 20)?,
            body: u32_at(header, 24)?,
            flags: u32_at(header, 28)?,
        };
        let sane = decoded.bytes as usize >= BATCH_HEADER_BYTES
            && (decoded.bytes as usize).is_multiple_of(BATCH_ALIGN);
        sane.then_some((decoded, check))
    }
}

/// What a record is. The numbers are on disk: never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// An entry of a group's log.
    Entry = 1,
    /// A vote; the payload is the caller's.
    Vote = 2,
    /// A committed position; the payload is the caller's.
    Committed = 3,
    /// Everything after the position was removed (everything not purged, with [`NO_POSITION`]).
    Truncate = 4,
    /// Everything up to the position was removed.
    Purge = 5,
    /// State of one group at the begin of a segment.
    Checkpoint = 6,
    /// Segments before `index` are no longer needed.
    Dropped = 7,
    /// A copy of an older entry, so that its segment can go.
    Moved = 8,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Entry,
            2 => Self::Vote,
            3 => Self::Committed,
            4 => Self::Truncate,
            5 => Self::Purge,
            6 => Self::Checkpoint,
            7 => Self::Dropped,
            8 => Self::Moved,
            _ => return None,
        })
    }
}

/// The payload is sealed.
pub(crate) const FLAG_SEALED: u8 = 1;
/// Term, node and index say nothing.
pub(crate) const NO_POSITION: u8 = 2;

/// Header of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    /// What it is.
    pub(crate) kind: Kind,
    /// The caller's own kind, for entries.
    pub(crate) entry_kind: u8,
    /// [`FLAG_SEALED`], [`NO_POSITION`].
    pub(crate) flags: u8,
    /// The Raft group.
    pub(crate) group: u32,
    /// Term, node and index.
    pub(crate) position: LogPosition,
    /// Bytes of the payload.
    pub(crate) payload: u32,
}

impl RecordHeader {
    /// A header for a record of `group` about `position`.
    pub(crate) fn new(kind: Kind, group: u32, position: Option<LogPosition>) -> Self {
        let flags = if position.is_some() { 0 } else { NO_POSITION };
        let position = position.unwrap_or(LogPosition { term: 0, node: 0, index: 0 });
        Self { kind, entry_kind: 0, flags, group, position, payload: 0 }
    }

    /// The position, if it says something.
    pub(crate) fn position(&self) -> Option<LogPosition> {
        (self.flags & NO_POSITION == 0).then_some(self.position)
    }

    /// Bytes of the record with its payload.
    pub(crate) fn bytes(&self) -> usize {
        RECORD_HEADER_BYTES + self.payload as usize
    }

    /// Header bytes with the checksum that does not depend on the place, which only the writer
    /// knows.
    pub(crate) fn encode(&self, payload: &[u8]) -> [u8; RECORD_HEADER_BYTES] {
        debug_assert_eq!(self.payload as usize, payload.len());
        let mut header = [0; RECORD_HEADER_BYTES];
        put_u32(&mut header, 0, self.payload);
        header[4] = self.kind as u8;
        header[5] = self.entry_kind;
        header[6] = self.flags;
        put_u32(&mut header, 8, self.group);
        put_u64(&mut header, 16, self.position.term);
        put_u64(&mut header, 24, self.position.node);
        put_u64(&mut header, 32, self.position.index);
        let check = Self::content_check(&header, payload);
        put_u32(&mut header, 12, check);
        header
    }

    fn content_check(header: &[u8], payload: &[u8]) -> u32 {
        let check = crc32c::crc32c(&header[..12]);
        let check = crc32c::crc32c_append(check, &header[16..RECORD_HEADER_BYTES]);
        crc32c::crc32c_append(check, payload)
    }

    /// Turns the checksum of the content, as [`RecordHeader::encode`] left it, into the one of
    /// content and place.
    pub(crate) fn settle(record: &mut [u8], salt: Salt, offset: u64) -> u32 {
        let content = u32_at(record, 12).expect("the caller passes a whole record");
        let check = place_check(content, salt, offset);
        put_u32(record, 12, check);
        check
    }

    /// The header of the record that begins at `bytes`, without looking at its checksum.
    pub(crate) fn peek(bytes: &[u8]) -> Option<Self> {
        let header = bytes.get(..RECORD_HEADER_BYTES)?;
        Some(Self {
            payload: u32_at(header, 0)?,
            kind: Kind::from_byte(header[4])?,
            entry_kind: header[5],
            flags: header[6],
            group: u32_at(header, 8)?,
            position: LogPosition {
                term: u64_at(header, 16)?,
                node: u64_at(header, 24)?,
                index: u64_at(header, 32)?,
            },
        })
    }

    /// The record that begins at `bytes` and was written at `offset`, with its payload and check;
    /// `None` if damaged.
    pub(crate) fn decode(bytes: &[u8], salt: Salt, offset: u64) -> Option<(Self, &[u8], u32)> {
        let header = Self::peek(bytes)?;
        let payload =
            bytes.get(RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + header.payload as usize)?;
        let check =
            place_check(Self::content_check(&bytes[..RECORD_HEADER_BYTES], payload), salt, offset);
        (u32_at(bytes, 12)? == check).then_some((header, payload, check))
    }
}

fn place_check(content: u32, salt: Salt, offset: u64) -> u32 {
    let check = crc32c::crc32c_append(salt.0, &content.to_le_bytes());
    crc32c::crc32c_append(check, &offset.to_le_bytes())
}

/// Adds one record's check to the checksum of a batch's body.
pub(crate) fn body_check(body: u32, record: u32) -> u32 {
    crc32c::crc32c_append(body, &record.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> SegmentHeader {
        let identity = *b"0123456789abcdef";
        SegmentHeader { identity, segment: 7, epoch: 3, made_bytes: 1 << 20 }
    }

    fn record(payload: &[u8]) -> Vec<u8> {
        let position = Some(LogPosition { term: 2, node: 1, index: 9 });
        let header = RecordHeader {
            payload: u32::try_from(payload.len()).expect("small in these tests"),
            entry_kind: 4,
            ..RecordHeader::new(Kind::Entry, 5, position)
        };
        [header.encode(payload).as_slice(), payload].concat()
    }

    #[test]
    fn golden_bytes_of_version_one_are_still_written() {
        let page = header().encode();
        assert_eq!(&page[..16], b"SYNODJNL\x01\0\0\x000123");
        let mut record = record(b"hello");
        let check = RecordHeader::settle(&mut record, header().salt(), 4136);
        let mut batch = [0; BATCH_HEADER_BYTES];
        let golden =
            BatchHeader { bytes: 88, number: 1, previous: 0, records: 1, body: 2, flags: 1 };
        let chain = golden.encode(&mut batch, header().salt(), 4096);
        assert_eq!((header().salt().0, check, chain), GOLDEN);
    }
    #[test]
    fn a_header_that_does_not_say_its_length_is_still_read() {
        let said = header();
        let mut page = said.encode();
        assert_eq!(SegmentHeader::decode(&page), Ok(said));
        assert_eq!(u32_at(&page, MADE_BYTES_END), Some(GOLDEN_MADE));
        page[55] ^= 1;
        assert_eq!(SegmentHeader::decode(&page), Err(BadHeader::Damaged));
        page[44..MADE_BYTES_END + 4].fill(0);
        assert_eq!(SegmentHeader::decode(&page), Ok(SegmentHeader { made_bytes: 0, ..said }));
    }

    const GOLDEN_MADE: u32 = 2_189_208_276;
    const GOLDEN: (u32, u32, u32) = (4_216_418_830, 1_399_366_631, 684_979_262);

    #[test]
    fn a_record_is_valid_only_where_it_was_written() {
        let salt = header().salt();
        let mut bytes = record(b"payload");
        RecordHeader::settle(&mut bytes, salt, 4136);
        assert!(RecordHeader::decode(&bytes, salt, 4136).is_some());
        assert!(RecordHeader::decode(&bytes, salt, 4144).is_none());
        for other in [
            SegmentHeader { segment: 8, ..header() },
            SegmentHeader { epoch: 4, ..header() },
            SegmentHeader { identity: *b"another node 123", ..header() },
        ] {
            assert!(RecordHeader::decode(&bytes, other.salt(), 4136).is_none());
        }
    }

    proptest! {
        #[test]
        fn decoding_any_bytes_never_panics(bytes: Vec<u8>, offset in 0usize..64) {
            let salt = header().salt();
            let _ = SegmentHeader::decode(&bytes);
            let _ = BatchHeader::decode(&bytes, salt, offset);
            let _ = RecordHeader::decode(&bytes, salt, offset as u64);
        }

        #[test]
        fn a_flipped_bit_of_a_record_is_noticed(payload: Vec<u8>, at: prop::sample::Index, bit in 0u8..8) {
            let salt = header().salt();
            let mut bytes = record(&payload);
            RecordHeader::settle(&mut bytes, salt, 64);
            prop_assert!(RecordHeader::decode(&bytes, salt, 64).is_some());
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(RecordHeader::decode(&bytes, salt, 64).is_none());
        }

        #[test]
        fn a_flipped_bit_of_a_batch_header_is_noticed(number: u64, at in 0usize..BATCH_HEADER_BYTES, bit in 0u8..8) {
            let salt = header().salt();
            let mut bytes = [0; BATCH_HEADER_BYTES];
            let batch = BatchHeader { bytes: 40, number, previous: 1, records: 0, body: 0, flags: 0 };
            let chain = batch.encode(&mut bytes, salt, 0);
            prop_assert_eq!(BatchHeader::decode(&bytes, salt, 0), Some((batch, chain)));
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(BatchHeader::decode(&bytes, salt, 0), None);
        }
    }
}
