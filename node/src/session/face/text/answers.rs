//! Answers on their way: gathered by the frame that asked, in the order in which it asked.

use std::collections::BTreeMap;
use std::time::Duration;

use chat::{CanonicalId, ConversationId, MessageId, Seq};
use proto::Problem;
use proto::spec_json::{BadItem, SentTo};
use tokio::time::Instant;

use crate::session::words::Stored;

/// How long the first answer of a frame waits for the others before it goes alone: items of one frame usually end
/// together, but they may belong to different shards, and one of these may have no leader.
const PATIENCE: Duration = Duration::from_millis(100);

/// What of a request its answer repeats.
#[derive(Debug, Clone)]
pub(super) enum Awaited {
    Message { sender: Option<String>, to: SentTo, message_id: MessageId },
    NotUnderstood(Box<BadItem>),
}

/// An answer that can be told.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) awaited: Awaited,
    pub(super) result: Result<(CanonicalId, Stored), Problem>,
    /// Others got further since: what is true now must be looked up, so that a status does not go back.
    pub(super) moved: bool,
}

#[derive(Debug, Default)]
struct Frame {
    awaited: BTreeMap<u64, Awaited>,
    ready: BTreeMap<u64, Ready>,
    /// Since when the first answer waits.
    since: Option<Instant>,
}

/// All frames with an answer outstanding.
#[derive(Debug, Default)]
pub(super) struct Answers {
    next_tag: u64,
    /// By the first tag of the frame; its other tags follow it.
    frames: BTreeMap<u64, Frame>,
    alone: BTreeMap<u64, (ConversationId, Seq)>,
}

/// A frame whose items are being taken down.
pub(super) struct Asked<'a> {
    answers: &'a mut Answers,
    first: u64,
}

impl Asked<'_> {
    /// An item that is answered together with the others of its frame. Returns its tag.
    pub(super) fn expect(&mut self, awaited: Awaited) -> u64 {
        let tag = self.tag();
        let frame = self.answers.frames.entry(self.first).or_default();
        frame.awaited.insert(tag, awaited);
        tag
    }

    /// An item that is answered by itself. Returns its tag.
    pub(super) fn alone(&mut self, conversation: ConversationId, seq: Seq) -> u64 {
        let tag = self.tag();
        self.answers.alone.insert(tag, (conversation, seq));
        tag
    }

    /// A tag of an item that is answered by itself and remembered elsewhere.
    pub(super) fn tag(&mut self) -> u64 {
        let tag = self.answers.next_tag;
        self.answers.next_tag += 1;
        tag
    }
}

impl Answers {
    /// A frame begins.
    pub(super) fn begin(&mut self) -> Asked<'_> {
        let first = self.next_tag;
        Asked { answers: self, first }
    }

    /// An answer is here.
    pub(super) fn take(
        &mut self,
        now: Instant,
        tag: u64,
        result: Result<(CanonicalId, Stored), Problem>,
    ) {
        let frame = self.frames.range_mut(..=tag).next_back().map(|(_, frame)| frame);
        let frame = frame.expect("an answer belongs to a frame");
        let awaited = frame.awaited.remove(&tag).expect("each item is answered once");
        frame.ready.insert(tag, Ready { awaited, result, moved: false });
        frame.since.get_or_insert(now);
    }

    /// Others got further in this conversation while answers about it wait.
    pub(super) fn moved(&mut self, conversation: ConversationId) {
        let waiting = self.frames.values_mut().flat_map(|frame| frame.ready.values_mut());
        for ready in waiting {
            ready.moved |=
                matches!(ready.result, Ok((place, _)) if place.conversation == conversation);
        }
    }

    /// What was asked by itself under this tag.
    pub(super) fn take_alone(&mut self, tag: u64) -> Option<(ConversationId, Seq)> {
        self.alone.remove(&tag)
    }

    /// Frames whose answers are complete, and what is ready of those that were patient long enough.
    pub(super) fn drain(&mut self, now: Instant) -> Vec<Vec<Ready>> {
        let mut all = Vec::new();
        for frame in self.frames.values_mut() {
            let late = frame.since.is_some_and(|since| since + PATIENCE <= now);
            if !frame.ready.is_empty() && (late || frame.awaited.is_empty()) {
                frame.since = None;
                all.push(std::mem::take(&mut frame.ready).into_values().collect());
            }
        }
        if !all.is_empty() {
            self.frames.retain(|_, frame| !frame.awaited.is_empty() || !frame.ready.is_empty());
        }
        all
    }

    /// When `drain` has something to give though nothing new came.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.frames.values().filter_map(|frame| frame.since).min().map(|since| since + PATIENCE)
    }
}
