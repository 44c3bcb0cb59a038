//! A split: from one entry of the log on, some of the shard's slots are another group's. What that one begins with is written
//! in the same batch: how far it is (behind this entry, which is a position that nobody wrote), who belongs to it (whoever
//! belongs to this group here), its slots, and what was owed for conversations of those slots. No row of a slot is touched.

use std::ops::Range;

use bytes::Bytes;
use chat::{Outcome, Owed, Place, Timestamp};
use proto::{keys, row};
use raft::{AppliedState, Fatal, GroupId};
use store::tables::{Direction, KeyRange};

use super::applied::{self, Counters};
use super::decide::{Decider, undecodable};
use super::draft::Draft;

/// Debts that are read at once.
const OWED_ROWS: usize = 1024;

/// A group that begins with a batch.
pub(super) struct SplitOff {
    pub(super) to: GroupId,
    pub(super) slots: Range<u16>,
    pub(super) counters: Counters,
    /// Where it begins; known once the entry has been decided.
    pub(super) begins: Option<AppliedState>,
}

impl SplitOff {
    /// The row of the new group.
    pub(super) fn row(&self) -> Bytes {
        let begins = self.begins.as_ref().expect("told before the batch is written");
        applied::encode(begins, self.counters, Some(&self.slots))
    }
}

impl Decider {
    /// Slots that are not this shard's any more were split off before, by the same wish.
    pub(super) fn split(
        &mut self,
        at: Timestamp,
        to: GroupId,
        slots: &Range<u16>,
        draft: &mut Draft,
    ) -> Result<Outcome, Fatal> {
        if let Some(rest) = rest(&self.slots, slots) {
            let counters = self.hand_over(to, slots, draft)?;
            self.slots = rest;
            let slots = slots.clone();
            draft.splits.push(SplitOff { to, slots, counters, begins: None });
        }
        Ok(Outcome::Accepted(Place { at, ..Place::default() }))
    }

    /// What is owed for conversations of these slots is owed by the new group, in the same order. The numbers that it had
    /// here stay empty.
    fn hand_over(
        &self,
        to: GroupId,
        slots: &Range<u16>,
        draft: &mut Draft,
    ) -> Result<Counters, Fatal> {
        let mut counters = Counters::default();
        let mut hand_over = |number: u64, item: Bytes, draft: &mut Draft| {
            let owed = row::decode_owed(&item).map_err(undecodable)?;
            let (Owed::Link { conversation, .. } | Owed::Unlink { conversation, .. }) = owed;
            if slots.contains(&conversation.slot()) {
                draft.hand_over((self.group, number), (to, counters.next), item);
                counters.next += 1;
            }
            Ok::<_, Fatal>(())
        };
        // What this batch came to owe comes after what earlier ones did.
        let fresh = draft.owed_since(self.group, self.counters.done);
        let mut last = self.counters.done;
        loop {
            let start = keys::outbox(self.group, last + 1);
            let range = KeyRange::new(start, keys::outbox_range(self.group).end);
            let rows = self.tables.scan(range, Direction::Ascending, OWED_ROWS)?;
            let Some((key, _)) = rows.last() else { break };
            (_, last) = keys::decode_outbox(key).map_err(undecodable)?;
            for (key, item) in rows {
                let (_, number) = keys::decode_outbox(&key).map_err(undecodable)?;
                hand_over(number, item, draft)?;
            }
        }
        fresh.into_iter().try_for_each(|(number, item)| hand_over(number, item, draft))?;
        Ok(counters)
    }
}

/// What is left of `whole`; `None` when `part` is not at one of its ends, or is all of it.
fn rest(whole: &Range<u16>, part: &Range<u16>) -> Option<Range<u16>> {
    let within = part.start < part.end && whole.start <= part.start && part.end <= whole.end;
    match (within, part.start == whole.start, part.end == whole.end) {
        (true, true, false) => Some(part.end..whole.end),
        (true, false, true) => Some(whole.start..part.start),
        _ => None,
    }
}
