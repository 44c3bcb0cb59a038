//! Walking over the bytes of one segment, batch by batch.
//!
//! It says what is there and what contradicts itself; what that means for the journal is the
//! recovery's decision.

use super::format::{
    BATCH_ALIGN, BATCH_HEADER_BYTES, BatchHeader, FLAG_CHECKPOINT, FLAG_SEAL, RecordHeader,
    SEGMENT_HEADER_BYTES, Salt, align, body_check,
};

/// One good batch.
pub(crate) struct Batch<'a> {
    pub(crate) bytes: usize,
    pub(crate) number: u64,
    pub(crate) chain: u32,
    pub(crate) checkpoint: bool,
    pub(crate) seal: bool,
    /// Header, payload and offset in the segment.
    pub(crate) records: Vec<(RecordHeader, &'a [u8], usize)>,
}

/// Why there is no further batch.
pub(crate) enum Stop {
    /// No good batch begins here.
    End,
    /// A good batch that cannot be here.
    Contradiction(String),
}

/// See the module.
pub(crate) struct Scan<'a> {
    segment: &'a [u8],
    salt: Salt,
    offset: usize,
    last: Option<(u64, u32)>,
}

impl<'a> Scan<'a> {
    /// `last` is number and chain value of the batch before, if it was read.
    pub(crate) fn new(segment: &'a [u8], salt: Salt, last: Option<(u64, u32)>) -> Self {
        Self { segment, salt, offset: SEGMENT_HEADER_BYTES, last }
    }

    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    /// The next batch.
    pub(crate) fn next(&mut self) -> Result<Batch<'a>, Stop> {
        let (header, chain) =
            BatchHeader::decode(self.segment, self.salt, self.offset).ok_or(Stop::End)?;
        if let Some((number, previous)) = self.last
            && (header.number != number + 1 || header.previous != previous)
        {
            let what =
                format!("batch {} follows batch {number} but does not name it", header.number);
            return Err(Stop::Contradiction(what));
        }
        let end = self.offset + header.bytes as usize;
        let Some(bytes) = self.segment.get(self.offset..end) else {
            return Err(Stop::End);
        };
        let Some(records) = self.records(&header, bytes) else {
            return Err(Stop::End);
        };
        self.last = Some((header.number, chain));
        self.offset = end;
        Ok(Batch {
            bytes: bytes.len(),
            number: header.number,
            chain,
            checkpoint: header.flags & FLAG_CHECKPOINT != 0,
            seal: header.flags & FLAG_SEAL != 0,
            records,
        })
    }

    fn records(
        &self,
        batch: &BatchHeader,
        bytes: &'a [u8],
    ) -> Option<Vec<(RecordHeader, &'a [u8], usize)>> {
        let mut records = Vec::with_capacity((batch.records as usize).min(bytes.len()));
        let (mut at, mut body) = (BATCH_HEADER_BYTES, 0);
        for _ in 0..batch.records {
            let place = self.offset + at;
            let (header, payload, check) =
                RecordHeader::decode(bytes.get(at..)?, self.salt, place as u64)?;
            body = body_check(body, check);
            at += header.bytes();
            records.push((header, payload, place));
        }
        (align(at) == bytes.len() && body == batch.body).then_some(records)
    }

    /// Offset of a good header of a later batch at or after `from`. One there proves that the batch
    /// at the scan's place had been synced, because a batch is written only after the one before it
    /// is durable.
    pub(crate) fn search(&self, from: usize) -> Option<usize> {
        let expected = self.last.map_or(0, |(number, _)| number) + 1;
        (from..self.segment.len()).step_by(BATCH_ALIGN).find(|at| {
            BatchHeader::decode(self.segment, self.salt, *at)
                .is_some_and(|(header, _)| header.number > expected)
        })
    }
}
