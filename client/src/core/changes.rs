//! Changes in: each once, ascending in its conversation, after the messages that were said before it; and how far they are
//! confirmed. A node sends all that are not confirmed on every link, ascending, so that none can be missed: what was handed
//! over is passed over.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chat::ConversationId;
use proto::frames;

use super::limits::CHANGES_HELD_MAX;
use crate::Incoming;
use crate::store::Record;

#[derive(Debug, Default)]
pub(super) struct Changes {
    tracks: BTreeMap<ConversationId, Track>,
    /// Conversations with changes that wait for messages.
    held: BTreeSet<ConversationId>,
    dirty: BTreeSet<ConversationId>,
    /// Tracks that got further since they were last noted.
    moved: BTreeSet<ConversationId>,
}

/// One conversation.
#[derive(Debug, Default)]
struct Track {
    /// Everything up to here was handed over.
    reached: u64,
    /// Changes that wait until a gap in the messages is closed.
    held: BTreeMap<u64, frames::Change>,
    /// There was no room for one: what follows is taken from the next link, which begins with it.
    passed_over: bool,
    wanted: u64,
    confirmed: u64,
    asked: Option<u64>,
}

impl Changes {
    /// Where an earlier life of this client was: what it had dealt with, and of that what the cluster knows.
    pub(super) fn restore(&mut self, conversation: ConversationId, wanted: u64, confirmed: u64) {
        let track = self.tracks.entry(conversation).or_default();
        (track.reached, track.wanted, track.confirmed) = (wanted, wanted, confirmed);
        self.dirty.insert(conversation);
    }

    /// What got further since the last call.
    pub(super) fn taken(&mut self) -> Vec<Record> {
        let moved = std::mem::take(&mut self.moved).into_iter();
        let records = moved.filter_map(|conversation| {
            let track = self.tracks.get(&conversation)?;
            let (wanted, confirmed) = (track.wanted, track.confirmed);
            Some(Record::ChangesTaken { conversation, wanted, confirmed })
        });
        records.collect()
    }

    /// Whether there is something to write.
    pub(super) fn is_waiting(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// The cluster's history went back there: nothing of before counts.
    pub(super) fn forget(&mut self, conversation: ConversationId) {
        self.held.remove(&conversation);
        if let Some(track) = self.tracks.get_mut(&conversation) {
            *track = Track::default();
        }
    }

    /// A change arrived, perhaps again. `waits`: messages from before it are still missing.
    pub(super) fn arrived(
        &mut self,
        change: frames::Change,
        waits: bool,
        incoming: &mut VecDeque<Incoming>,
    ) {
        let Ok(conversation) = ConversationId::from_bytes(&change.conversation) else { return };
        let track = self.tracks.entry(conversation).or_default();
        if track.passed_over || change.number <= track.reached {
            return;
        }
        if !waits && track.held.is_empty() {
            track.reached = change.number;
            incoming.push_back(Incoming::Change(change));
        } else if track.held.len() < CHANGES_HELD_MAX {
            track.held.insert(change.number, change);
            self.held.insert(conversation);
        } else {
            track.passed_over = true;
        }
    }

    /// Conversations with changes that wait for messages.
    pub(super) fn waiting(&self) -> Vec<ConversationId> {
        self.held.iter().copied().collect()
    }

    /// Nothing is missing there any more.
    pub(super) fn release(
        &mut self,
        conversation: ConversationId,
        incoming: &mut VecDeque<Incoming>,
    ) {
        self.held.remove(&conversation);
        let Some(track) = self.tracks.get_mut(&conversation) else { return };
        for (number, change) in std::mem::take(&mut track.held) {
            assert!(number > track.reached, "what was handed over is not held");
            track.reached = number;
            incoming.push_back(Incoming::Change(change));
        }
    }

    /// The device has got this far.
    pub(super) fn want(&mut self, conversation: ConversationId, number: u64) {
        let track = self.tracks.entry(conversation).or_default();
        track.wanted = track.wanted.max(number);
        self.moved.insert(conversation);
        self.dirty.insert(conversation);
    }

    /// The next confirmation to write, until there is none.
    pub(super) fn next(&mut self) -> Option<(ConversationId, u64)> {
        while let Some(id) = self.dirty.pop_first() {
            let track = self.tracks.get_mut(&id).expect("a track is never taken away");
            if track.asked.is_none() && track.wanted > track.confirmed {
                track.asked = Some(track.wanted);
                return Some((id, track.wanted));
            }
        }
        None
    }

    /// What was refused for now is confirmed with the next change, or on the next link.
    pub(super) fn confirmed(
        &mut self,
        conversation: ConversationId,
        answer: &frames::ChangesConfirmed,
    ) {
        let Some(track) = self.tracks.get_mut(&conversation) else { return };
        let Some(asked) = track.asked.take() else { return };
        if answer.problem.is_none() {
            track.confirmed = track.confirmed.max(asked).max(answer.change);
            self.moved.insert(conversation);
            self.dirty.insert(conversation);
        }
    }

    /// The link is gone: what was asked for has to be asked for again.
    pub(super) fn unsend(&mut self) {
        for (id, track) in &mut self.tracks {
            track.passed_over = false;
            track.asked = None;
            if track.wanted > track.confirmed {
                self.dirty.insert(*id);
            }
        }
    }
}
