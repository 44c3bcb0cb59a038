//! What the records written so far say about each group: the one definition of what a record means.
//!
//! The writer and the recovery run the same function over the same records, so they cannot
//! disagree: the writer asserts on it before it writes, the recovery calls a contradiction damage.
//! Payloads of entries are not looked at.

use super::LogPosition;
use super::format::{Kind, RecordHeader, u32_at, u64_at};
use bytes::Bytes;

/// One group as of the last record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) vote: Option<Bytes>,
    pub(crate) committed: Option<Bytes>,
    pub(crate) purged: Option<LogPosition>,
    /// Index of the first entry, or of the next one when there is none.
    pub(crate) first: u64,
    /// The last entry, or the purged position when there is none.
    pub(crate) last: Option<LogPosition>,
}

impl Written {
    /// Number of entries.
    pub(crate) fn entries(&self) -> u64 {
        match self.last {
            Some(last) => last.index.saturating_add(1).saturating_sub(self.first),
            None => 0,
        }
    }

    /// Index that the next entry must have; `None` if any will do (nothing was ever written, or all
    /// was truncated).
    pub(crate) fn next_index(&self) -> Option<u64> {
        self.last.map(|last| last.index.saturating_add(1))
    }

    /// Takes one record of this group into account. The error says what is impossible about it.
    pub(crate) fn apply(&mut self, record: &RecordHeader, payload: &[u8]) -> Result<(), String> {
        match record.kind {
            Kind::Entry => self.entry(record.position)?,
            Kind::Vote => self.vote = Some(Bytes::copy_from_slice(payload)),
            Kind::Committed => self.committed = Some(Bytes::copy_from_slice(payload)),
            Kind::Truncate => self.truncate(record.position())?,
            Kind::Purge => self.purge(record.position)?,
            Kind::Moved => self.moved(record.position)?,
            Kind::Checkpoint | Kind::Dropped => {}
        }
        Ok(())
    }

    fn entry(&mut self, position: LogPosition) -> Result<(), String> {
        if position.index == u64::MAX {
            return Err("no entry can follow this one".to_owned());
        }
        match self.next_index() {
            Some(next) if next != position.index => {
                return Err(format!("entry {} where {next} must follow", position.index));
            }
            Some(_) => {}
            None => self.first = position.index,
        }
        self.last = Some(position);
        Ok(())
    }

    fn truncate(&mut self, keep: Option<LogPosition>) -> Result<(), String> {
        let keep = keep.or(self.purged);
        if keep.map(|keep| keep.index) < self.purged.map(|purged| purged.index) {
            return Err("entries were truncated that had been purged".to_owned());
        }
        if self.entries() == 0 || keep.map(|keep| keep.index) >= self.last.map(|last| last.index) {
            return Ok(());
        }
        if keep.is_some_and(|keep| keep.index.saturating_add(1) < self.first) {
            return Err("entries were truncated that never existed".to_owned());
        }
        self.last = keep;
        if self.last.is_none() {
            self.first = 0;
        }
        Ok(())
    }

    fn purge(&mut self, upto: LogPosition) -> Result<(), String> {
        if self.purged.is_some_and(|purged| purged.index > upto.index) {
            return Err(format!("entries up to {} were purged twice", upto.index));
        }
        if self.last.is_some() && upto.index.saturating_add(1) < self.first {
            return Err(format!("entries up to {} were purged that never existed", upto.index));
        }
        self.purged = Some(upto);
        self.first = upto.index.saturating_add(1);
        if self.last.is_none_or(|last| last.index <= upto.index) {
            self.last = Some(upto);
        }
        Ok(())
    }

    fn moved(&self, position: LogPosition) -> Result<(), String> {
        if self.last.is_none_or(|last| position.index > last.index) {
            return Err(format!("a copy of entry {} that does not exist", position.index));
        }
        Ok(())
    }

    /// Payload of a checkpoint record.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&self.first.to_le_bytes());
        for position in [self.purged, self.last] {
            bytes.push(u8::from(position.is_some()));
            let position = position.unwrap_or(LogPosition { term: 0, node: 0, index: 0 });
            for part in [position.term, position.node, position.index] {
                bytes.extend_from_slice(&part.to_le_bytes());
            }
        }
        for value in [&self.vote, &self.committed] {
            bytes.push(u8::from(value.is_some()));
            let value = value.as_deref().unwrap_or_default();
            let len = u32::try_from(value.len()).expect("votes are bounded when they are saved");
            bytes.extend_from_slice(&len.to_le_bytes());
            bytes.extend_from_slice(value);
        }
        bytes
    }

    /// Opposite of [`Written::encode`]; `None` if the bytes are not one.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let position = |at: usize| -> Option<Option<LogPosition>> {
            let position = LogPosition {
                term: u64_at(bytes, at + 1)?,
                node: u64_at(bytes, at + 9)?,
                index: u64_at(bytes, at + 17)?,
            };
            Some((*bytes.get(at)? == 1).then_some(position))
        };
        let value = |at: usize| -> Option<(Option<Bytes>, usize)> {
            let len = u32_at(bytes, at + 1)? as usize;
            let value = Bytes::copy_from_slice(bytes.get(at + 5..at.checked_add(5 + len)?)?);
            Some(((*bytes.get(at)? == 1).then_some(value), at + 5 + len))
        };
        let (vote, after_vote) = value(58)?;
        let (committed, end) = value(after_vote)?;
        let first = u64_at(bytes, 0)?;
        let decoded = Self { vote, committed, purged: position(8)?, first, last: position(33)? };
        (end == bytes.len()).then_some(decoded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn position() -> impl Strategy<Value = Option<LogPosition>> {
        prop::option::of(any::<(u64, u64, u64)>())
            .prop_map(|p| p.map(|(term, node, index)| LogPosition { term, node, index }))
    }

    proptest! {
        #[test]
        fn checkpoints_round_trip(
            vote: Option<Vec<u8>>, committed: Option<Vec<u8>>, first: u64,
            purged in position(), last in position(),
        ) {
            let (vote, committed) = (vote.map(Bytes::from), committed.map(Bytes::from));
            let written = Written { vote, committed, purged, first, last };
            prop_assert_eq!(Written::decode(&written.encode()), Some(written));
        }

        #[test]
        fn any_bytes_decode_without_panic(bytes: Vec<u8>) {
            let _ = Written::decode(&bytes);
        }
    }
}
