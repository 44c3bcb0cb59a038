//! What came in: how far each conversation was received, and the gaps that must be closed. Deliveries are a hint, the log is
//! the truth: what is received already is passed over; what jumps ahead waits a moment for what is missing, which is then
//! read from history.
//!
//! A node does not send a message back on the link that it came by, but does so to later links of the same device. This
//! device's own messages are part of the count and are not handed over: whoever sent them has the receipt.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use chat::{ConversationId, DeviceId, Seq};
use proto::frames::{self, Consistency, read_history};

use super::backoff::Jitter;
use super::limits::{GAP_GRACE, GAP_MESSAGES_MAX, GAPS_MAX, OWN_MAX, PAGE_MESSAGES};
use crate::Incoming;

#[derive(Debug)]
pub(super) struct Delivery {
    own_device: DeviceId,
    tracks: BTreeMap<ConversationId, Track>,
    /// Conversations with a gap, so that nobody has to look for them.
    gaps: BTreeSet<ConversationId>,
}

/// One conversation.
#[derive(Debug, Default)]
struct Track {
    /// Everything up to here was handed over or is this device's own. `None` before the node said where it begins.
    reached: Option<u64>,
    /// The last sequence that was handed over.
    handed: u64,
    /// Places beyond `reached` that this device's own messages were given.
    own: BTreeSet<u64>,
    /// Messages beyond `reached`, waiting for those before them.
    early: BTreeMap<u64, frames::Message>,
    gap: Option<Gap>,
    /// The last status that was handed over: delivered, read.
    status: (u64, u64),
}

#[derive(Debug)]
struct Gap {
    /// The highest sequence that was heard of: until there history is read.
    target: u64,
    state: State,
    attempts: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ready,
    InFlight,
    Pausing(Duration),
}

impl Delivery {
    pub(super) fn new(own_device: DeviceId) -> Delivery {
        Delivery { own_device, tracks: BTreeMap::new(), gaps: BTreeSet::new() }
    }

    /// Where an earlier life of this client was: what it had dealt with, and the last status it was told.
    pub(super) fn restore(&mut self, id: ConversationId, delivered: Seq, status: (Seq, Seq)) {
        let track = self.tracks.entry(id).or_default();
        // A conversation of which nothing was dealt with yet begins where the node begins it.
        track.reached = (delivered.0 > 0).then_some(delivered.0);
        track.handed = delivered.0;
        track.status = (status.0.0, status.1.0);
    }

    /// The cluster's history went back there: nothing of before counts.
    pub(super) fn forget(&mut self, conversation: ConversationId) {
        self.tracks.remove(&conversation);
        self.gaps.remove(&conversation);
    }

    /// A message arrived, perhaps again, perhaps too early. True: it was this device's own.
    pub(super) fn arrived(
        &mut self,
        now: Duration,
        message: frames::Message,
        incoming: &mut VecDeque<Incoming>,
    ) -> Option<ConversationId> {
        let conversation = ConversationId::from_bytes(&message.conversation).ok()?;
        let (seq, is_own) = (message.seq, message.device == self.own_device.0);
        let room = self.gaps.len() < GAPS_MAX;
        let track = self.tracks.entry(conversation).or_default();
        // A conversation begins where the node begins it: after this device's cursor.
        let reached = *track.reached.get_or_insert(seq.saturating_sub(1));
        if seq <= reached {
            return is_own.then_some(conversation);
        }
        if is_own {
            track.own.insert(seq);
        } else if track.early.len() < GAP_MESSAGES_MAX {
            track.early.insert(seq, message);
        }
        track.advance(incoming);
        track.expect(now, seq, room);
        self.note(conversation);
        is_own.then_some(conversation)
    }

    /// This device's own message has its place.
    pub(super) fn stored(
        &mut self,
        conversation: ConversationId,
        seq: Seq,
        incoming: &mut VecDeque<Incoming>,
    ) {
        let track = self.tracks.entry(conversation).or_default();
        if track.reached.is_some_and(|reached| seq.0 <= reached) {
            return;
        }
        track.own.insert(seq.0);
        if track.own.len() > OWN_MAX {
            // At worst history is read where it need not be.
            track.own.pop_first();
        }
        track.advance(incoming);
        self.note(conversation);
    }

    /// Everything up to `seq` is confirmed: with all that was handed over, what is this device's own after it counts too.
    pub(super) fn confirmable(&self, conversation: ConversationId, seq: Seq) -> Seq {
        match self.tracks.get(&conversation) {
            Some(Track { reached: Some(reached), handed, .. }) if seq.0 >= *handed => {
                seq.max(Seq(*reached))
            }
            _ => seq,
        }
    }

    /// Whether messages are missing there.
    pub(super) fn has_gap(&self, conversation: ConversationId) -> bool {
        self.gaps.contains(&conversation)
    }

    /// The last sequence that was handed over; 0 for none.
    pub(super) fn handed(&self, conversation: ConversationId) -> Seq {
        Seq(self.tracks.get(&conversation).map_or(0, |track| track.handed))
    }

    /// Own messages have got further. What is older than what was told is passed over.
    pub(super) fn status(&mut self, status: &frames::Status, incoming: &mut VecDeque<Incoming>) {
        let Ok(conversation) = ConversationId::from_bytes(&status.conversation) else { return };
        let told = &mut self.tracks.entry(conversation).or_default().status;
        let now = (told.0.max(status.delivered), told.1.max(status.read));
        if now != *told {
            *told = now;
            let (delivered, read) = (Seq(now.0), Seq(now.1));
            incoming.push_back(Incoming::Status { conversation, delivered, read });
        }
    }

    /// The next page to ask for, until there is none.
    pub(super) fn next(&mut self) -> Option<(ConversationId, frames::ReadHistory)> {
        for conversation in &self.gaps {
            let track = self.tracks.get_mut(conversation).expect("a gap is in a track");
            let gap = track.gap.as_mut().expect("noted as a gap");
            if gap.state == State::Ready {
                gap.state = State::InFlight;
                gap.attempts += 1;
                let id = Bytes::copy_from_slice(conversation.as_bytes());
                let request = frames::ReadHistory {
                    tag: 0,
                    of: Some(read_history::Of::Conversation(id)),
                    after: track.reached.unwrap_or(0),
                    before: 0,
                    limit: PAGE_MESSAGES,
                    consistency: Consistency::AtLeast.into(),
                    at_least: gap.target,
                    around: 0,
                };
                return Some((*conversation, request));
            }
        }
        None
    }

    /// History answered for a gap.
    pub(super) fn filled(
        &mut self,
        now: Duration,
        conversation: ConversationId,
        page: frames::HistoryPage,
        incoming: &mut VecDeque<Incoming>,
        jitter: &mut Jitter,
    ) {
        let Some(track) = self.tracks.get_mut(&conversation) else { return };
        let Some(mut gap) = track.gap.take() else { return };
        let refused = |problem: &frames::Problem| !problem.retryable && !problem.unknown;
        if page.problem.as_ref().is_some_and(refused) {
            // The node will not show it: this user is no member any more.
            track.early.clear();
            track.reached = None;
            return self.note(conversation);
        }
        let before = track.reached;
        // What expired is in no page.
        if track.reached.is_some_and(|reached| reached < page.expired) {
            track.pass_over_to(page.expired, incoming);
        }
        for message in page.messages {
            track.pass_over_to(message.seq.saturating_sub(1), incoming);
            if track.reached.is_none_or(|reached| message.seq > reached) {
                track.hand_over(message, self.own_device, incoming);
            }
        }
        track.advance(incoming);
        if track.reached.is_none_or(|reached| reached < gap.target) {
            gap.state = match track.reached > before {
                true => State::Ready,
                false => {
                    // Nothing new: the node does not know yet what another one delivered.
                    let asked = page.problem.map_or(0, |problem| problem.retry_after_ms);
                    let pause = jitter.pause(gap.attempts, Duration::from_millis(asked));
                    State::Pausing(now + pause)
                }
            };
            track.gap = Some(gap);
        }
        self.note(conversation);
    }

    /// The link is gone: what was asked for has to be asked for again.
    pub(super) fn unsend(&mut self) {
        self.each_gap(|gap| {
            if gap.state == State::InFlight {
                gap.state = State::Ready;
            }
        });
    }

    pub(super) fn timeout(&self) -> Option<Duration> {
        let gaps = self.gaps.iter().filter_map(|id| self.tracks[id].gap.as_ref());
        let pauses = gaps.filter_map(|gap| match gap.state {
            State::Pausing(until) => Some(until),
            State::Ready | State::InFlight => None,
        });
        pauses.min()
    }

    pub(super) fn expire(&mut self, now: Duration) {
        self.each_gap(|gap| {
            if matches!(gap.state, State::Pausing(until) if until <= now) {
                gap.state = State::Ready;
            }
        });
    }

    fn each_gap(&mut self, mut change: impl FnMut(&mut Gap)) {
        for conversation in &self.gaps {
            let track = self.tracks.get_mut(conversation).expect("a gap is in a track");
            change(track.gap.as_mut().expect("noted as a gap"));
        }
    }

    fn note(&mut self, conversation: ConversationId) {
        let has_gap = self.tracks.get(&conversation).is_some_and(|track| track.gap.is_some());
        match has_gap {
            true => self.gaps.insert(conversation),
            false => self.gaps.remove(&conversation),
        };
    }
}

impl Track {
    /// Takes whatever follows without a gap.
    fn advance(&mut self, incoming: &mut VecDeque<Incoming>) {
        while let Some(next) = self.reached.map(|reached| reached + 1) {
            if let Some(message) = self.early.remove(&next) {
                self.handed = next;
                incoming.push_back(Incoming::Message(message));
            } else if !self.own.remove(&next) {
                break;
            }
            self.reached = Some(next);
        }
        let reached = self.reached.unwrap_or(0);
        while self.own.first().is_some_and(|own| *own <= reached) {
            self.own.pop_first();
        }
        if self.gap.as_ref().is_some_and(|gap| gap.target <= reached) {
            self.gap = None;
        }
        assert!(self.early.first_key_value().is_none_or(|(first, _)| *first > reached));
    }

    /// `seq` was heard of. If it lies beyond a gap, history will be read, unless what is missing comes in a moment.
    fn expect(&mut self, now: Duration, seq: u64, room: bool) {
        if self.reached.is_some_and(|reached| seq <= reached) {
            return;
        }
        match &mut self.gap {
            Some(gap) => gap.target = gap.target.max(seq),
            None if room => {
                let state = State::Pausing(now + GAP_GRACE);
                self.gap = Some(Gap { target: seq, state, attempts: 0 });
            }
            // Found again by the next message.
            None => {
                self.early.remove(&seq);
            }
        }
    }

    /// History shows nothing between here and `seq` but what came early: this user may not see the rest.
    fn pass_over_to(&mut self, seq: u64, incoming: &mut VecDeque<Incoming>) {
        self.advance(incoming);
        while let Some(first) = self.early.keys().next().copied().filter(|first| *first <= seq) {
            self.reached = Some(first - 1);
            self.advance(incoming);
        }
        if self.reached.is_none_or(|reached| reached < seq) {
            self.reached = Some(seq);
        }
        self.advance(incoming);
    }

    fn hand_over(
        &mut self,
        message: frames::Message,
        own_device: DeviceId,
        incoming: &mut VecDeque<Incoming>,
    ) {
        self.reached = Some(message.seq);
        self.early.remove(&message.seq);
        if message.device != own_device.0 {
            self.handed = message.seq;
            incoming.push_back(Incoming::Message(message));
        }
        self.advance(incoming);
    }
}
