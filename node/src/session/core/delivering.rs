//! The half of a session that gives: messages in the order of their sequence, and what became of own ones.

use std::collections::BTreeSet;
use std::sync::Arc;

use chat::{ConversationId, DeviceId, Floors, Message, Seq, UserId};

use super::Session;
use crate::fanout::{Hint, Lag, Moved};
use crate::session::deliveries::{Batch, Pile, Position, Step};
use crate::session::freshness::hull;
use crate::session::sends::Sends;
use crate::session::words::{Action, Marks, News, Say};

/// Groups up to this size tell of every member's progress; larger ones when the last member has got there.
const PROGRESS_MEMBERS_MAX: usize = 64;

/// Progress in conversations that a link does not know yet, kept until it does. Beyond it the oldest is forgotten, and
/// the next progress there tells more.
const EARLY_MAX: usize = 256;

/// What the client is sent.
impl Session {
    /// Where the device stands in all conversations of its user. With `fresh` slots the local replica has caught up.
    pub(crate) fn handle_opened(
        &mut self,
        positions: Vec<(ConversationId, Position)>,
        fresh: &BTreeSet<u16>,
    ) {
        self.handle_fresh(fresh);
        for conversation in self.deliveries.open(positions) {
            self.actions.push_back(Action::Refresh(conversation));
        }
        self.tell_caught_up();
    }

    /// The link began with what an earlier one was given: it is told of the others' conversations as they have news.
    pub(crate) fn handle_resumed(&mut self) {
        self.resumed = true;
    }

    /// The link was to begin with what an earlier one was given, and began anew after all.
    pub(crate) fn handle_reset(&mut self) {
        if self.who().is_some() {
            self.say(Say::Resume { token: String::new(), reset: true });
        }
    }

    /// Something newer for the next link.
    pub(crate) fn handle_bookmark(&mut self, token: String) {
        if self.who().is_some() {
            self.say(Say::Resume { token, reset: false });
        }
    }

    /// The conversations of which the next link of this device would be sent something, whatever is known at this
    /// moment; `None` while that cannot be said.
    pub(crate) fn owed(&self) -> Option<BTreeSet<ConversationId>> {
        let mut owed = self.deliveries.owed()?;
        for action in &self.actions {
            match action {
                Action::Open => return None,
                Action::Refresh(conversation) => {
                    owed.insert(*conversation);
                }
                _ => {}
            }
        }
        owed.extend(self.early.iter().map(|moved| moved.conversation));
        Some(owed)
    }

    /// Where the device stands in one conversation; `None`: the user has no part in it.
    pub(crate) fn handle_position(
        &mut self,
        conversation: ConversationId,
        position: Option<Position>,
    ) {
        self.deliveries.position(conversation, position);
        self.tell_early(conversation);
        self.tell_caught_up();
    }

    /// Something happened in one of the user's conversations.
    pub(crate) fn handle_hint(&mut self, hint: Hint) {
        let Some(who) = self.who() else { return };
        let step = match &hint {
            Hint::Message(delivery) => {
                let message = delivery.message();
                let mine = is_own(&self.sends, who.device, message);
                self.deliveries.offer(message.conversation, message.seq, mine)
            }
            Hint::Moved(moved) => {
                let user = who.user.clone();
                return self.moved(&user, moved);
            }
            Hint::Change(change) => self.deliveries.offer_change(change),
            Hint::Changed(conversation) => self.deliveries.changed(*conversation),
            // Who is writing is for `handle_typing`, which knows the time.
            Hint::Wake | Hint::Typing(_) => Step::Nothing,
            Hint::Removed(conversation) => {
                self.deliveries.drop_track(*conversation);
                // Before the positions are known it may still come back with them.
                let step = self.deliveries.changed(*conversation);
                self.tell_caught_up();
                step
            }
        };
        match (step, hint) {
            (Step::Deliver, Hint::Message(delivery)) => self.say(Say::Live(delivery)),
            (Step::Deliver, Hint::Change(change)) => self.say(Say::Changes(vec![change])),
            (Step::Refresh, hint) => {
                let conversation =
                    hint.conversation().expect("only a conversation is looked at again");
                self.actions.push_back(Action::Refresh(conversation));
            }
            (Step::Deliver | Step::Nothing, _) => {}
        }
    }

    /// Hints were lost: the log is asked instead.
    pub(crate) fn handle_lag(&mut self, lag: Lag) {
        if self.who().is_none() {
            return;
        }
        match lag {
            Lag::All => self.actions.push_back(Action::Open),
            Lag::Some(conversations) => {
                for conversation in conversations {
                    self.actions.push_back(Action::Refresh(conversation));
                    self.actions.push_back(Action::Floors(conversation));
                }
            }
        }
    }

    /// What [`Action::Read`] found; `None`: the user may not read there any more.
    pub(crate) fn handle_page(&mut self, conversation: ConversationId, page: Option<Pile>) {
        let Some(device) = self.who().map(|who| who.device) else { return };
        let sends = &self.sends;
        let is_mine = |message: &Message| is_own(sends, device, message);
        if let Some(batch) = self.deliveries.page(conversation, page, is_mine) {
            let Batch { kind, messages, overlays, catching_up } = batch;
            self.say(Say::Stored { kind, messages, overlays, catching_up });
        }
        self.tell_caught_up();
    }

    /// The local replica has caught up with these slots since the link began: what waited for that is looked at.
    pub(crate) fn handle_fresh(&mut self, slots: &BTreeSet<u16>) {
        for conversation in self.freshness.caught_up(slots) {
            self.want_floors(conversation);
        }
    }

    /// Asks how far everybody is in a conversation, so that the client is told.
    pub(crate) fn want_floors(&mut self, conversation: ConversationId) {
        self.actions.push_back(Action::Floors(conversation));
    }

    /// How far everybody is, read rather than hinted.
    pub(crate) fn handle_floors(&mut self, conversation: ConversationId, floors: &Floors) {
        let Some(user) = self.who().map(|who| who.user.clone()) else { return };
        let floors = Marks { delivered: floors.delivered(&user), read: floors.read(&user) };
        if self.may_tell(conversation, None) {
            self.deliveries.note_floors(conversation);
            let progress = self.freshness.release(conversation, None);
            self.tell_status(conversation, floors, progress);
        }
    }

    fn moved(&mut self, user: &UserId, moved: &Arc<Moved>) {
        if moved.user == *user {
            return;
        }
        if self.deliveries.kind(moved.conversation).is_none() {
            return self.moved_early(moved);
        }
        let floors =
            Marks { delivered: moved.floors.delivered(user), read: moved.floors.read(user) };
        let step = |(from, to): (Seq, Seq)| (from < to).then_some((from, to));
        let small = moved.members <= PROGRESS_MEMBERS_MAX;
        let progress = hull(step(moved.delivered), step(moved.read)).filter(|_| small);
        let id = moved.conversation;
        if !self.may_tell(id, progress) {
            return;
        }
        if self.deliveries.has_floors(id) {
            return self.tell_status(id, floors, progress);
        }
        // This hint may have waited since before the node was fresh: what it says is read again.
        if self.freshness.hold(id, progress) {
            self.want_floors(id);
        }
    }

    /// Whether a status may be told. On a node that may lag it may not; what there is to tell is told once that is past.
    fn may_tell(&mut self, id: ConversationId, progress: Option<(Seq, Seq)>) -> bool {
        if self.freshness.is_fresh(id) {
            return true;
        }
        self.freshness.hold(id, progress);
        if self.freshness.wait(id) {
            self.actions.push_back(Action::Freshen(id.slot()));
        }
        false
    }

    /// Somebody got further where this link has not looked yet: in the moment in which it begins, an own message may
    /// already be read, and nobody says so twice.
    fn moved_early(&mut self, moved: &Arc<Moved>) {
        if self.early.len() == EARLY_MAX {
            self.early.pop_front();
        }
        self.early.push_back(Arc::clone(moved));
        if self.deliveries.changed(moved.conversation) == Step::Refresh {
            self.actions.push_back(Action::Refresh(moved.conversation));
        }
    }

    /// Tells of progress that came before the conversation was known here.
    fn tell_early(&mut self, id: ConversationId) {
        if self.early.is_empty() {
            return;
        }
        let (early, rest) =
            self.early.drain(..).partition::<Vec<_>, _>(|moved| moved.conversation == id);
        self.early.extend(rest);
        let known = self.deliveries.kind(id).is_some();
        let Some(user) = self.who().map(|who| who.user.clone()).filter(|_| known) else { return };
        for moved in early {
            self.moved(&user, &moved);
        }
    }

    /// Tells what became of own messages if it is news: all others have got further, or (`progress`) one of them has.
    pub(super) fn tell_status(
        &mut self,
        id: ConversationId,
        floors: Marks,
        progress: Option<(Seq, Seq)>,
    ) {
        let before = self.deliveries.raise_floors(id, floors);
        let step = before.and_then(|before| {
            let now = self.deliveries.floors(id);
            let step = |from: Seq, to: Seq| (from < to).then_some((from, to));
            hull(step(before.delivered, now.delivered), step(before.read, now.read))
        });
        let touched = hull(step, progress);
        let (Some(touched), Some(kind), Some(who)) =
            (touched, self.deliveries.kind(id), self.who())
        else {
            return;
        };
        let news = News {
            user: who.user.clone(),
            conversation: id,
            kind: Arc::clone(kind),
            floors: self.deliveries.floors(id),
            floors_moved: before.is_some(),
            touched,
        };
        self.say(Say::Status(news));
    }

    fn tell_caught_up(&mut self) {
        if self.who().is_some() && self.deliveries.take_caught_up() {
            self.say(Say::CaughtUp);
        }
    }
}

/// Whether this link sent the message and waits for its answer.
fn is_own(sends: &Sends, device: DeviceId, message: &Message) -> bool {
    message.device == device && sends.is_waiting(message.conversation, &message.message_id)
}
