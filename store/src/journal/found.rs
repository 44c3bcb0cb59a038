//! One group as its records tell while they are read back: where each entry lies.
//!
//! A checkpoint may claim entries whose records went with older segments: they come up again as copies, or are purged by a later
//! record. Until then nothing is kept for them, so that what a record claims is never taken for memory that is there.

use std::collections::{BTreeMap, VecDeque};

use super::LogPosition;
use super::format::{Kind, RecordHeader};
use super::group::Slot;
use super::segments::Place;
use super::written::Written;

/// See the module.
#[derive(Default)]
pub(crate) struct FoundGroup {
    pub(crate) written: Written,
    /// The entries of which the records themselves were read, one after the other.
    pub(crate) slots: VecDeque<Slot>,
    /// Index of the first of them.
    from: u64,
    /// Older entries that came up as copies.
    copies: BTreeMap<u64, Slot>,
}

impl FoundGroup {
    /// As a checkpoint says: of its entries none was seen.
    pub(super) fn begin(written: Written) -> Self {
        Self { written, ..Self::default() }
    }

    /// Takes one record of this group into account. The error says what is impossible about it.
    pub(super) fn follow(
        &mut self,
        header: &RecordHeader,
        payload: &[u8],
        place: Place,
    ) -> Result<(), String> {
        self.written.apply(header, payload)?;
        let LogPosition { term, node, index } = header.position;
        let slot = || Slot { term, node, place, generation: 0, entry_kind: header.entry_kind };
        match header.kind {
            Kind::Entry => {
                if self.slots.is_empty() {
                    self.from = index;
                }
                self.slots.push_back(slot());
            }
            Kind::Moved => self.copied(index, slot()),
            Kind::Truncate | Kind::Purge => self.cut(),
            Kind::Vote | Kind::Committed | Kind::Checkpoint | Kind::Dropped => {}
        }
        Ok(())
    }

    /// The entries that there are: the first, and the one after the last.
    fn range(&self) -> (u64, u64) {
        let first = self.written.first;
        (first, first.saturating_add(self.written.entries()))
    }

    fn copied(&mut self, index: u64, slot: Slot) {
        let (first, end) = self.range();
        if !(first..end).contains(&index) {
            return; // Purged since: nobody needs it.
        }
        let at = index.checked_sub(self.from).and_then(|at| usize::try_from(at).ok());
        match at.and_then(|at| self.slots.get_mut(at)) {
            Some(known) => *known = slot,
            None => drop(self.copies.insert(index, slot)),
        }
    }

    /// Forgets what is no entry any more.
    fn cut(&mut self) {
        let (first, end) = self.range();
        self.copies.retain(|index, _| (first..end).contains(index));
        let most = |bound: u64, from: u64| {
            usize::try_from(bound.saturating_sub(from)).unwrap_or(usize::MAX)
        };
        self.slots.truncate(most(end, self.from));
        let gone = most(first, self.from).min(self.slots.len());
        self.slots.drain(..gone);
        self.from += gone as u64;
    }

    /// Everything was read: all entries in their order. The error is the first one that is in no record.
    pub(super) fn complete(&mut self) -> Result<(), u64> {
        let (first, end) = self.range();
        let older_end = if self.slots.is_empty() { end } else { self.from };
        let mut older = VecDeque::with_capacity(self.copies.len() + self.slots.len());
        for (index, slot) in std::mem::take(&mut self.copies) {
            if index != first + older.len() as u64 {
                break;
            }
            older.push_back(slot);
        }
        let next = first + older.len() as u64;
        if next < older_end {
            return Err(next);
        }
        older.append(&mut self.slots);
        self.slots = older;
        self.from = first;
        assert_eq!(self.written.entries(), self.slots.len() as u64, "both follow the records");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What was there before: a slot for every entry, known or not.
    #[derive(Default)]
    struct Dense {
        written: Written,
        slots: VecDeque<Option<u32>>,
    }

    impl Dense {
        fn follow(&mut self, header: &RecordHeader, place: Place) -> Result<(), String> {
            let before = self.written.first;
            self.written.apply(header, &[])?;
            let index = header.position.index;
            let entries = usize::try_from(self.written.entries()).expect("few");
            match header.kind {
                Kind::Entry => self.slots.push_back(Some(place.offset)),
                Kind::Moved => {
                    let at = index.checked_sub(self.written.first);
                    let slot = at.and_then(|at| self.slots.get_mut(usize::try_from(at).ok()?));
                    if let Some(slot) = slot {
                        *slot = Some(place.offset);
                    }
                }
                Kind::Truncate => self.slots.truncate(entries),
                Kind::Purge => {
                    let gone = self.written.first.saturating_sub(before);
                    let gone = usize::try_from(gone).expect("few").min(self.slots.len());
                    self.slots.drain(..gone);
                }
                Kind::Vote | Kind::Committed | Kind::Checkpoint | Kind::Dropped => {}
            }
            Ok(())
        }
    }

    fn record(kind: Kind, index: u64) -> RecordHeader {
        let mut raw = [0; super::super::format::RECORD_HEADER_BYTES];
        raw[4] = kind as u8;
        let mut header = RecordHeader::peek(&raw).expect("a kind that is known");
        header.position = LogPosition { term: 1, node: 1, index };
        header
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn it_finds_what_a_slot_for_every_entry_would(
            claimed in 0..12_u64,
            steps in prop::collection::vec((0..8_u8, 0..20_u64), 0..40),
        ) {
            let last = (claimed > 0).then_some(LogPosition { term: 1, node: 1, index: claimed });
            let written = Written { first: u64::from(claimed > 0), last, ..Written::default() };
            let mut found = FoundGroup::begin(written.clone());
            let slots = (0..claimed).map(|_| None).collect();
            let mut dense = Dense { written, slots };
            for (offset, (what, index)) in steps.into_iter().enumerate() {
                let next = dense.written.next_index().unwrap_or(index);
                let header = match what {
                    0..=2 => record(Kind::Entry, next),
                    3..=5 => record(Kind::Moved, index),
                    6 => record(Kind::Truncate, index),
                    _ => record(Kind::Purge, index),
                };
                let offset = u32::try_from(offset).expect("few");
                let place = Place { segment: 1, offset, bytes: 1 };
                // Damage: the reader stops there.
                if dense.follow(&header, place).is_err() {
                    prop_assert!(found.follow(&header, &[], place).is_err());
                    return Ok(());
                }
                found.follow(&header, &[], place).expect("as the other");
            }
            let first = dense.written.first;
            let expected = match dense.slots.iter().position(Option::is_none) {
                Some(at) => Err(first + at as u64),
                None => Ok(dense.slots.iter().flatten().copied().collect::<Vec<_>>()),
            };
            let places = |found: &FoundGroup| found.slots.iter().map(|slot| slot.place.offset).collect();
            prop_assert_eq!(found.complete().map(|()| places(&found)), expected);
        }
    }
}
