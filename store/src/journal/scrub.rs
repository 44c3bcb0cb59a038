//! Reads what the segments hold while the journal runs, so that damage is found before a start needs what it hit.
//!
//! Law: a changed bit in any record that a start would read is found. A sealed segment is read to its seal, the one that is
//! being written to where the last barrier got, one that was only made ahead as far as its header. Nothing is changed.

use super::format::{SEGMENT_HEADER_BYTES, SegmentHeader};
use super::scan::{Scan, Stop};
use super::segments::{Segment, segment_name};
use super::shared::Shared;
use crate::error::StoreError;

/// Read in one go, so that whoever paces a scrub can.
const PIECE_BYTES: usize = 256 << 10;

/// How far the writer has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    /// The segment that is being written.
    pub(crate) segment: u32,
    /// Everything before this is durable and does not change any more.
    pub(crate) offset: u64,
}

/// What must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    /// Batches, the last of which says so.
    Sealed,
    /// Batches up to this offset.
    At(usize),
}

/// One segment that is being looked at. What it holds in memory is a segment's bytes.
pub struct Scrub {
    segment: Segment,
    ends: Ends,
    bytes: Vec<u8>,
    read: usize,
}

impl Scrub {
    /// The first segment after the one of this number; `None` after the last.
    pub(crate) fn begin(shared: &Shared, after: u32) -> Option<Self> {
        // Before the segments are looked at: one that was sealed meanwhile is read as far as it went.
        let reach = *shared.reach.lock();
        let next = after.checked_add(1)?;
        let segment = shared.segments.files().by_number.range(next..).next()?.1.clone();
        let header = SEGMENT_HEADER_BYTES as u64;
        let (ends, bytes) = match segment.number.cmp(&reach.segment) {
            std::cmp::Ordering::Less => (Ends::Sealed, segment.capacity),
            std::cmp::Ordering::Equal => (ends_at(reach.offset), reach.offset),
            std::cmp::Ordering::Greater => (ends_at(header), header),
        };
        let bytes = usize::try_from(bytes).expect("segments fit in memory");
        Some(Self { segment, ends, bytes: vec![0; bytes], read: 0 })
    }

    /// Its number: where the next one is looked for.
    #[must_use]
    pub fn segment(&self) -> u32 {
        self.segment.number
    }

    /// Reads a piece. Answers how many bytes that were; 0: everything is read.
    ///
    /// # Errors
    /// When the disk cannot read it.
    pub fn read(&mut self) -> Result<usize, StoreError> {
        let end = self.bytes.len().min(self.read + PIECE_BYTES);
        let piece = &mut self.bytes[self.read..end];
        let read = self.segment.file.read_at(piece, self.read as u64);
        read.map_err(|error| StoreError::while_doing("read", self.name(), &error))?;
        Ok(end - std::mem::replace(&mut self.read, end))
    }

    /// Checks what was read. Answers how many records there are.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`], as a start would tell.
    ///
    /// # Panics
    /// When not everything was read.
    pub fn check(self) -> Result<u64, StoreError> {
        assert_eq!(self.read, self.bytes.len(), "read before it is checked");
        self.check_header()?;
        let mut scan = Scan::new(&self.bytes, self.segment.salt, None);
        let mut records = 0;
        while self.ends != Ends::At(scan.offset()) {
            let offset = scan.offset() as u64;
            let damaged = |what: String| StoreError::corrupt(self.name(), offset, what);
            match scan.next() {
                Ok(batch) => {
                    records += batch.records.len() as u64;
                    if batch.seal && self.ends == Ends::Sealed {
                        break;
                    }
                }
                Err(Stop::Contradiction(what)) => return Err(damaged(what)),
                Err(Stop::End) => return Err(damaged("a batch does not have its checksum".into())),
            }
        }
        Ok(records)
    }

    fn check_header(&self) -> Result<(), StoreError> {
        let header = SegmentHeader::decode(&self.bytes);
        let same = header.is_ok_and(|header| {
            (header.segment, header.salt()) == (self.segment.number, self.segment.salt)
        });
        if same {
            return Ok(());
        }
        Err(StoreError::corrupt(self.name(), 0, "the header is not the one that was written"))
    }

    fn name(&self) -> String {
        segment_name(self.segment.number)
    }
}

fn ends_at(offset: u64) -> Ends {
    Ends::At(usize::try_from(offset).expect("segments fit in memory"))
}
