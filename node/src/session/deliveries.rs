//! Station 10, deliver: what of each conversation this link was sent, and what it must be sent next.
//!
//! One pointer per conversation, `next`. A hint whose sequence is `next` is delivered; a smaller one was delivered
//! before; a greater one means that something is missing here, and the log is read until nothing is. While the link
//! catches up, hints only say that there is more to read, so that everything older comes first. Messages that this
//! very link sent are passed over: their answer said all.
//!
//! Changes have a pointer of their own, `next_change`, and go the same way. A change is sent after all messages that
//! were said before it: whoever hears that a message was edited has it.
//!
//! Decides only. It reads nothing and sends nothing.

mod changes;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use chat::{ChangeNumber, ConversationId, Kind, Message, Overlay, Seq};

use super::words::Marks;

/// Where a device stands in a conversation, as the local replica has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) kind: Arc<Kind>,
    /// The first sequence that the user may see.
    pub(crate) visible_from: Seq,
    /// The first sequence that the device does not have.
    pub(crate) next: Seq,
    /// The last message.
    pub(crate) last: Seq,
    /// The device's cursor.
    pub(crate) cursor: Marks,
    /// The first change that the device does not have.
    pub(crate) next_change: ChangeNumber,
    /// The last change.
    pub(crate) last_change: ChangeNumber,
}

#[derive(Debug)]
struct Track {
    kind: Arc<Kind>,
    /// The first sequence that this link was not sent.
    next: Seq,
    /// The highest sequence that is known to exist.
    known: Seq,
    /// In `wanting`.
    queued: bool,
    /// The first sequence that the user may see.
    visible_from: Seq,
    /// The first change that this link was not sent.
    next_change: ChangeNumber,
    /// The highest change that is known to exist.
    known_change: ChangeNumber,
    /// In `changing`.
    change_queued: bool,
    /// The first sequence and the first change that another link of this device would be sent.
    owed: (Seq, ChangeNumber),
    cursor: Marks,
    /// How far all others have got, as this link was told.
    floors: Marks,
    /// They were read since this node was fresh, not only hinted at.
    floors_read: bool,
}

impl Track {
    /// Confirmations only go forwards.
    fn owe(&mut self, seq: Seq, change: ChangeNumber) {
        self.owed = (self.owed.0.max(seq), self.owed.1.max(change));
    }
}

/// What to do about a hint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing now.
    Nothing,
    /// Say it: it is the next one.
    Deliver,
    /// This conversation is new here: look at it.
    Refresh,
}

/// What is to be read from the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Messages after this one.
    Messages(ConversationId, Seq),
    /// Changes after this one.
    Changes(ConversationId, ChangeNumber),
}

/// Messages that were read from the log, and what lies over them.
#[derive(Debug, Default)]
pub(crate) struct Pile {
    pub(crate) messages: Vec<Message>,
    pub(crate) overlays: BTreeMap<Seq, Overlay>,
    /// The first sequence that the user may see: what lay before may have expired.
    pub(crate) visible_from: Seq,
}

impl From<Vec<Message>> for Pile {
    fn from(messages: Vec<Message>) -> Self {
        Self { messages, overlays: BTreeMap::new(), visible_from: Seq(1) }
    }
}

/// Messages for the client, read from the log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) kind: Arc<Kind>,
    pub(crate) messages: Vec<Message>,
    pub(crate) overlays: BTreeMap<Seq, Overlay>,
    pub(crate) catching_up: bool,
}

/// All conversations of one link.
#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    tracks: BTreeMap<ConversationId, Track>,
    /// Sequences of messages that this link sent and that `next` has not passed.
    own: BTreeMap<ConversationId, BTreeSet<Seq>>,
    /// Conversations with something to read, oldest wish first.
    wanting: VecDeque<ConversationId>,
    /// Conversations with changes to read, oldest wish first.
    changing: VecDeque<ConversationId>,
    /// Conversations that are catching up, and until where.
    behind: BTreeMap<ConversationId, Seq>,
    /// Hinted at before the positions were known.
    touched: BTreeSet<ConversationId>,
    /// How far this link was sent conversations that its user has left: whoever comes back goes on from there.
    left: BTreeMap<ConversationId, Seq>,
    opened: bool,
    caught_up: bool,
}

/// Conversations left during one link of which it is remembered how far it was. One who leaves more and comes back may be
/// sent messages again, as after a new link.
const LEFT_MAX: usize = 1024;

impl Deliveries {
    /// Takes the positions of all conversations. Returns those that must be looked at again.
    pub(crate) fn open(
        &mut self,
        positions: Vec<(ConversationId, Position)>,
    ) -> Vec<ConversationId> {
        let again = self.opened;
        let named: BTreeSet<ConversationId> = positions.iter().map(|(id, _)| *id).collect();
        for (id, position) in positions {
            self.place(id, position);
            let track = self.tracks.get(&id).expect("it was just placed");
            if !again && track.next <= track.known {
                self.behind.insert(id, track.known);
            }
        }
        self.opened = true;
        // The user's list follows the conversations with a delay, so absence from it is no proof of anything.
        let unnamed = self.tracks.keys().filter(|id| again && !named.contains(id)).copied();
        unnamed.chain(std::mem::take(&mut self.touched)).collect()
    }

    /// Takes the position of one conversation; `None`: the user has no part in it.
    pub(crate) fn position(&mut self, id: ConversationId, position: Option<Position>) {
        match position {
            Some(position) => self.place(id, position),
            None => self.drop_track(id),
        }
    }

    fn place(&mut self, id: ConversationId, position: Position) {
        let left = self.left.remove(&id).unwrap_or_default();
        let track = self.tracks.entry(id).or_insert_with(|| Track {
            kind: Arc::clone(&position.kind),
            next: position.next.max(left),
            known: position.last,
            queued: false,
            visible_from: position.visible_from,
            next_change: position.next_change,
            known_change: position.last_change,
            change_queued: false,
            owed: (position.next, position.next_change),
            cursor: position.cursor,
            floors: Marks::default(),
            floors_read: false,
        });
        track.next = track.next.max(position.visible_from);
        track.known = track.known.max(position.last);
        track.visible_from = track.visible_from.max(position.visible_from);
        track.next_change = track.next_change.max(position.next_change);
        track.known_change = track.known_change.max(position.last_change);
        track.owe(position.next, position.next_change);
        track.cursor.raise(position.cursor);
        self.settle(id);
        self.want(id);
    }

    /// The user was removed: nothing more may be delivered.
    pub(crate) fn drop_track(&mut self, id: ConversationId) {
        if let Some(track) = self.tracks.remove(&id) {
            if self.left.len() == LEFT_MAX {
                self.left.pop_first();
            }
            self.left.insert(id, track.next);
        }
        self.own.remove(&id);
        self.behind.remove(&id);
        self.touched.remove(&id);
    }

    /// A conversation was hinted at without a message.
    pub(crate) fn changed(&mut self, id: ConversationId) -> Step {
        if self.opened {
            return Step::Refresh;
        }
        self.touched.insert(id);
        Step::Nothing
    }

    /// A message was stored. `mine`: this link sent it and waits for the answer.
    pub(crate) fn offer(&mut self, id: ConversationId, seq: Seq, mine: bool) -> Step {
        if !self.opened {
            return self.changed(id);
        }
        let Some(track) = self.tracks.get_mut(&id) else { return Step::Refresh };
        track.known = track.known.max(seq);
        if seq < track.next {
            return Step::Nothing;
        }
        let gap = seq > track.next && !planted::bug(planted::Bug::HintWithoutGapCheck);
        if gap || !self.caught_up {
            self.want(id);
            return Step::Nothing;
        }
        let own = mine || self.own.get(&id).is_some_and(|own| own.contains(&seq));
        track.next = seq.next();
        self.settle(id);
        if own { Step::Nothing } else { Step::Deliver }
    }

    /// What to read next, if anything is missing: messages first.
    pub(crate) fn poll_read(&mut self) -> Option<Wanted> {
        while let Some(id) = self.wanting.pop_front() {
            let Some(track) = self.tracks.get_mut(&id) else { continue };
            track.queued = false;
            if track.next <= track.known {
                return Some(Wanted::Messages(id, Seq(track.next.0 - 1)));
            }
        }
        self.poll_changes()
    }

    /// Takes what was read; `None`: the user may not read it any more.
    pub(crate) fn page(
        &mut self,
        id: ConversationId,
        page: Option<Pile>,
        is_mine: impl Fn(&Message) -> bool,
    ) -> Option<Batch> {
        let Some(Pile { messages: page, overlays, visible_from }) = page else {
            self.drop_track(id);
            return None;
        };
        let track = self.tracks.get_mut(&id)?;
        let own = self.own.get(&id);
        let catching_up = self.behind.contains_key(&id);
        track.visible_from = track.visible_from.max(visible_from);
        track.next = track.next.max(visible_from);
        if page.is_empty() {
            track.known = Seq(track.next.0 - 1);
        }
        let mut messages = Vec::with_capacity(page.len());
        let mut first = true;
        for message in page {
            if message.seq < track.next {
                continue;
            }
            // Only the beginning may jump: the user left and came back, or what lies between has expired.
            assert!(
                message.seq == track.next || first,
                "history is dense from what a user may see"
            );
            first = false;
            track.next = message.seq.next();
            let mine = own.is_some_and(|own| own.contains(&message.seq)) || is_mine(&message);
            if !mine {
                messages.push(message);
            }
        }
        let kind = Arc::clone(&track.kind);
        self.settle(id);
        self.want(id);
        (!messages.is_empty()).then_some(Batch { kind, messages, overlays, catching_up })
    }

    /// This link's own message has its place.
    pub(crate) fn acknowledged(&mut self, id: ConversationId, seq: Seq) {
        if self.tracks.get(&id).is_some_and(|track| seq < track.next) {
            return;
        }
        self.own.entry(id).or_default().insert(seq);
        self.settle(id);
    }

    /// True once: everything that was stored before the link began has been taken.
    pub(crate) fn take_caught_up(&mut self) -> bool {
        let now = self.opened && !self.caught_up && self.behind.is_empty();
        self.caught_up |= now;
        now
    }

    /// How far this device has confirmed, as far as is known here.
    pub(crate) fn cursor(&self, id: ConversationId) -> Marks {
        self.tracks.get(&id).map(|track| track.cursor).unwrap_or_default()
    }

    /// The device's cursor stands here now.
    pub(crate) fn confirmed(&mut self, id: ConversationId, marks: Marks) {
        if let Some(track) = self.tracks.get_mut(&id) {
            track.cursor.raise(marks);
            track.owe(track.cursor.delivered.next(), ChangeNumber(0));
        }
    }

    /// The device has all changes up to here.
    pub(crate) fn changes_confirmed(&mut self, id: ConversationId, change: ChangeNumber) {
        if let Some(track) = self.tracks.get_mut(&id) {
            track.owe(Seq(0), change.next());
        }
    }

    /// The conversations of which another link of this device would be sent something; `None` before everything that was
    /// stored when this link began has been taken.
    pub(crate) fn owed(&self) -> Option<BTreeSet<ConversationId>> {
        let is_owed =
            |track: &Track| track.owed.0 <= track.known || track.owed.1 <= track.known_change;
        let owed = self.tracks.iter().filter(|(_, track)| is_owed(track));
        let whole = self.caught_up && self.touched.is_empty();
        whole.then(|| owed.map(|(id, _)| *id).collect())
    }

    /// The highest sequence that is known to exist.
    pub(crate) fn known(&self, id: ConversationId) -> Seq {
        self.tracks.get(&id).map(|track| track.known).unwrap_or_default()
    }

    /// Between whom, if the conversation is known here.
    pub(crate) fn kind(&self, id: ConversationId) -> Option<&Arc<Kind>> {
        self.tracks.get(&id).map(|track| &track.kind)
    }

    /// How far the others have got, as this link was told.
    pub(crate) fn floors(&self, id: ConversationId) -> Marks {
        self.tracks.get(&id).map(|track| track.floors).unwrap_or_default()
    }

    /// Whether the floors were read, so that a hint from before can take nothing back.
    pub(crate) fn has_floors(&self, id: ConversationId) -> bool {
        self.tracks.get(&id).is_some_and(|track| track.floors_read)
    }

    /// The floors are read now.
    pub(crate) fn note_floors(&mut self, id: ConversationId) {
        if let Some(track) = self.tracks.get_mut(&id) {
            track.floors_read = true;
        }
    }

    /// The others have got so far. Returns where they stood before, if that is news.
    pub(crate) fn raise_floors(&mut self, id: ConversationId, floors: Marks) -> Option<Marks> {
        let track = self.tracks.get_mut(&id)?;
        let before = track.floors;
        track.floors.raise(floors);
        (track.floors != before).then_some(before)
    }

    /// Passes over own messages at `next`, and ends a catch-up that has arrived.
    fn settle(&mut self, id: ConversationId) {
        let Some(track) = self.tracks.get_mut(&id) else { return };
        if let Some(own) = self.own.get_mut(&id) {
            *own = own.split_off(&track.next);
            while own.remove(&track.next) {
                track.next = track.next.next();
            }
            if own.is_empty() {
                self.own.remove(&id);
            }
        }
        if self.behind.get(&id).is_some_and(|until| *until < track.next) {
            self.behind.remove(&id);
        }
        self.want_changes(id);
    }

    fn want(&mut self, id: ConversationId) {
        let Some(track) = self.tracks.get_mut(&id) else { return };
        if track.next <= track.known && !track.queued {
            track.queued = true;
            self.wanting.push_back(id);
        }
    }
}
