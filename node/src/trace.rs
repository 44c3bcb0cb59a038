//! When a message passed each station of its path on this node: times and counts, never content. For operators who ask
//! where a message spent its time; nothing here is needed to deliver one.
//!
//! Every recent message is noted, by its canonical id. A note costs one short lock of a part of the slots, which the threads
//! of other shards hardly ever want, and one short list for each batch that is applied. Nothing is kept over a restart,
//! and what comes later than a message's own way, such as catching up after days, is not noted.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use chat::{CanonicalId, ConversationId, SLOTS};
use parking_lot::Mutex;
use raft::GroupId;

use crate::clock::Clock;
use crate::shard::{Publish, ShardEvent};

/// Parts of the slots that are noted apart.
const PARTS: usize = 16;
/// Notes of one part that are remembered, at 48 bytes each: 12 MiB on a node where much is said, and of a hundred messages a
/// second more than the last five minutes.
const REMEMBERED_MAX: usize = 16_384;
/// The newest notes among which one that is like a new one is looked for: members of a group are handed a message one after
/// the other, and are one note.
const LIKE_MAX: usize = 32;
const _: () = assert!((SLOTS as usize).is_multiple_of(PARTS));

/// Where a message came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Station {
    /// The frame was read from the sender's link, here.
    Arrived,
    /// The leader stamped it: proposed.
    Proposed,
    /// It was committed, and what it brought about is in the tables here.
    Applied,
    /// The sessions here were told.
    FannedOut,
    /// It was handed to a recipient's link, here.
    Delivered,
    /// The sender's session had the outcome, here.
    Answered,
}

impl Station {
    /// Stable name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Arrived => "arrived",
            Self::Proposed => "proposed",
            Self::Applied => "applied",
            Self::FannedOut => "fannedOut",
            Self::Delivered => "delivered",
            Self::Answered => "answered",
        }
    }
}

/// A message at a station.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) message: CanonicalId,
    pub(crate) station: Station,
    /// The first time, microseconds since 1970 by this node's clock.
    pub(crate) first_us: u64,
    /// How long after that the last time was, microseconds.
    pub(crate) lasted_us: u32,
    /// How often.
    pub(crate) times: u32,
}

/// What is remembered on this node. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub(crate) struct Trace(Arc<[Mutex<VecDeque<Note>>; PARTS]>);

impl Trace {
    fn part(&self, conversation: ConversationId) -> &Mutex<VecDeque<Note>> {
        &self.0[usize::from(conversation.slot()) / (usize::from(SLOTS) / PARTS)]
    }

    /// It is there now.
    pub(crate) fn note(&self, message: CanonicalId, station: Station, now_us: u64) {
        push(&mut self.part(message.conversation).lock(), message, station, now_us);
    }

    /// Its outcome is here, so long after it came.
    pub(crate) fn answered(&self, message: CanonicalId, took: Duration, now_us: u64) {
        let came = now_us.saturating_sub(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        let mut part = self.part(message.conversation).lock();
        push(&mut part, message, Station::Arrived, came);
        push(&mut part, message, Station::Answered, now_us);
    }

    /// Everything that is remembered of a message, in the order in which it was noted.
    pub(crate) fn of(&self, message: CanonicalId) -> Vec<Note> {
        let part = self.part(message.conversation).lock();
        part.iter().filter(|note| note.message == message).copied().collect()
    }
}

fn push(part: &mut VecDeque<Note>, message: CanonicalId, station: Station, now_us: u64) {
    if station == Station::Delivered {
        let like = |note: &&mut Note| note.station == station && note.message == message;
        if let Some(note) = part.iter_mut().rev().take(LIKE_MAX).find(like) {
            note.times = note.times.saturating_add(1);
            let lasted = now_us.saturating_sub(note.first_us);
            note.lasted_us = u32::try_from(lasted).unwrap_or(u32::MAX);
            return;
        }
    }
    if part.len() == REMEMBERED_MAX {
        part.pop_front();
    }
    part.push_back(Note { message, station, first_us: now_us, lasted_us: 0, times: 1 });
}

/// A listener to events of which the messages are noted, before and after it.
pub(crate) struct Traced<P> {
    listener: P,
    trace: Trace,
    clock: Arc<dyn Clock>,
}

impl<P: Publish> Traced<P> {
    /// What `listener` is told is noted.
    pub(crate) fn new(listener: P, trace: Trace, clock: Arc<dyn Clock>) -> Self {
        Self { listener, trace, clock }
    }
}

impl<P: Publish> Publish for Traced<P> {
    fn publish(&self, events: Vec<ShardEvent>) {
        let said = |event: &ShardEvent| match event {
            ShardEvent::Message { message, .. } => Some((message.canonical_id(), message.at.0)),
            _ => None,
        };
        let said: Vec<_> = events.iter().filter_map(said).collect();
        let now = self.clock.now_us();
        for (message, at_ms) in &said {
            self.trace.note(*message, Station::Proposed, at_ms.saturating_mul(1000));
            self.trace.note(*message, Station::Applied, now);
        }
        self.listener.publish(events);
        let now = self.clock.now_us();
        said.iter().for_each(|(message, _)| self.trace.note(*message, Station::FannedOut, now));
    }

    fn settled(&self, group: GroupId, index: u64, conversations: &BTreeSet<ConversationId>) {
        self.listener.settled(group, index, conversations);
    }

    fn stands(&self, group: GroupId, slots: Range<u16>, index: u64) {
        self.listener.stands(group, slots, index);
    }

    fn keeps(&self, group: GroupId, slots: Range<u16>) {
        self.listener.keeps(group, slots);
    }

    fn replaced(&self, slots: Range<u16>) {
        self.listener.replaced(slots);
    }
}

#[cfg(test)]
mod tests {
    use chat::{Seq, UserId};

    use super::*;

    fn message(seq: usize) -> CanonicalId {
        let [a, b] = ["anna", "ben"].map(|name| UserId::parse(name).expect("a legal name"));
        CanonicalId { conversation: ConversationId::direct(&a, &b), seq: Seq(seq as u64) }
    }

    #[test]
    fn the_newest_are_remembered_and_no_more_than_may_be() {
        let trace = Trace::default();
        for seq in 1..=REMEMBERED_MAX + 10 {
            trace.note(message(seq), Station::Applied, 5);
        }
        assert_eq!(trace.part(message(1).conversation).lock().len(), REMEMBERED_MAX);
        assert_eq!(trace.of(message(10)), []);
        assert_eq!(trace.of(message(11)).len(), 1);
    }

    #[test]
    fn many_deliveries_of_a_message_are_one_note_that_counts_them() {
        let trace = Trace::default();
        for now in 0..5 {
            trace.note(message(1), Station::Delivered, 100 + now);
            trace.note(message(2), Station::Delivered, 200 + now);
        }
        let (first_us, lasted_us, times) = (100, 4, 5);
        let (message, station) = (message(1), Station::Delivered);
        assert_eq!(trace.of(message), [Note { message, station, first_us, lasted_us, times }]);
    }

    #[test]
    fn an_answer_says_when_its_message_came() {
        let trace = Trace::default();
        trace.answered(message(7), Duration::from_millis(3), 1_000_000);
        let notes = trace.of(message(7));
        let told: Vec<_> = notes.iter().map(|note| (note.station, note.first_us)).collect();
        assert_eq!(told, [(Station::Arrived, 997_000), (Station::Answered, 1_000_000)]);
    }
}
