//! What a device wishes of messages that were said: to edit or delete its own, to react to any. A wish is repeated under
//! the same id until its answer is definite. What comes of all wishes is judged by comparing replicas; on a link, the
//! changes of a conversation are told in their order.

use std::collections::BTreeMap;

use chat::ConversationId;
use proto::frame::ClientFrame;
use proto::frames::{self, change_message};

use super::{Around, Device};
use crate::book::id_of;
use crate::wire::{MS, Time};

/// A wish that was refused for now is repeated after so long.
const AGAIN_AFTER: Time = 100 * MS;
/// So many in a thousand changes are confirmed.
const CONFIRMS: u64 = 300;

/// One at a time.
#[derive(Default)]
pub(super) struct Wishes {
    made: u64,
    under_way: Option<Wish>,
    next: Time,
    /// The last change of each conversation that the present link was told of.
    told: BTreeMap<ConversationId, u64>,
}

struct Wish {
    id: ConversationId,
    seq: u64,
    change: String,
    what: change_message::Wish,
    /// The attempt that waits for its answer.
    tag: Option<u64>,
    since: Time,
}

impl Wishes {
    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_none()
    }

    pub(super) fn have_waited(&self, now: Time, patience: Time) -> bool {
        self.under_way
            .as_ref()
            .is_some_and(|wish| wish.tag.is_some() && now > wish.since + patience)
    }

    /// The link is gone.
    pub(super) fn lose(&mut self) {
        self.told.clear();
        if let Some(wish) = &mut self.under_way {
            wish.tag = None;
        }
    }
}

impl Device {
    /// Begins a wish now and then, and repeats one that was not answered.
    pub(super) fn wish(&mut self, around: &Around<'_>) {
        if around.now < self.wishes.next {
            return;
        }
        if self.wishes.under_way.is_none() && around.busy && around.settings.changes_messages {
            self.wishes.next = around.now + self.dice.within(2, 40) * around.settings.think / 2;
            self.wishes.under_way = self.draw_wish();
        }
        if self.wishes.under_way.as_ref().is_none_or(|wish| wish.tag.is_some()) {
            return;
        }
        let tag = self.tag();
        let Some(wish) = &mut self.wishes.under_way else { return };
        (wish.tag, wish.since) = (Some(tag), around.now);
        let frame = frames::ChangeMessage {
            tag,
            conversation: bytes::Bytes::copy_from_slice(wish.id.as_bytes()),
            seq: wish.seq,
            change_id: wish.change.clone(),
            wish: Some(wish.what.clone()),
        };
        self.say(around, ClientFrame::ChangeMessage(frame));
    }

    fn draw_wish(&mut self) -> Option<Wish> {
        let spoken: Vec<_> = self.lanes.iter().filter(|lane| lane.last_seq > 0).collect();
        if spoken.is_empty() {
            return None;
        }
        let lane = spoken[self.dice.index(spoken.len())];
        let (id, own) = (lane.id, lane.last_seq);
        self.wishes.made += 1;
        let number = self.wishes.made;
        let (seq, what) = match self.dice.below(5) {
            0 => (own, change_message::Wish::Delete(frames::Nothing {})),
            1 | 2 => (own, change_message::Wish::Edit(format!("edited {number}"))),
            _ => {
                let reaction = ["", "+", "-"][self.dice.index(3)];
                (1 + self.dice.below(own), change_message::Wish::React(reaction.to_owned()))
            }
        };
        let change = format!("w-{}-{number}", self.index);
        Some(Wish { id, seq, change, what, tag: None, since: 0 })
    }

    pub(super) fn changed(&mut self, changed: &frames::Changed, around: &Around<'_>) {
        let Some(wish) =
            self.wishes.under_way.as_mut().filter(|wish| wish.tag == Some(changed.tag))
        else {
            return;
        };
        match &changed.problem {
            Some(problem) if problem.unknown || problem.retryable => {
                wish.tag = None;
                self.wishes.next = around.now + AGAIN_AFTER.max(problem.retry_after_ms * MS);
            }
            // Refused for good: somebody was removed, a message was deleted.
            _ => self.wishes.under_way = None,
        }
        self.moved = around.now;
    }

    pub(super) fn changes(&mut self, changes: &frames::Changes, around: &mut Around<'_>) {
        self.moved = around.now;
        for change in &changes.changes {
            let Some(id) = id_of(&change.conversation) else { continue };
            let told = self.wishes.told.entry(id).or_default();
            if change.number <= *told {
                let what = format!(
                    "changes: a link of {}/{} was told change {} of {id} after {told}",
                    self.user, self.number, change.number
                );
                around.book.broken(around.now, what);
            }
            *told = change.number;
            if self.dice.happens(CONFIRMS) {
                let tag = self.tag();
                let conversation = change.conversation.clone();
                let change = change.number;
                let frame = frames::ConfirmChanges { tag, conversation, change };
                self.say(around, ClientFrame::ConfirmChanges(frame));
            }
        }
    }
}
