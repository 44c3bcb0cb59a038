//! Station 9, fan out: events that a replica applied become hints to the sessions connected to this node.
//!
//! Every replica publishes what it applies, so delivery rides on replication. Called on the groups' threads after
//! the state is persisted: nothing here waits. A hint that finds its session's mailbox full is dropped and the
//! conversation is noted as lagging; the session then reads history, because fan-out is a hint and the log is the truth.

mod delivery;
mod directory;

use std::ops::Range;
use std::sync::Arc;

use chat::{Change, ConversationId, Floors, Seq, UserEvent, UserId};

pub(crate) use delivery::Delivery;
#[cfg(test)]
pub(crate) use directory::HINTS_MAX;
pub use directory::Mailboxes;
pub(crate) use directory::{Directory, Lag, Mailbox};

use crate::figures;
use crate::shard::{Publish, ShardEvent};

/// Something a session should know. Losing one is never losing a message.
#[derive(Debug, Clone)]
pub(crate) enum Hint {
    /// A message was stored in a conversation of the session's user.
    Message(Arc<Delivery>),
    /// Something was changed in a conversation of the session's user.
    Change(Arc<Change>),
    /// Somebody is writing there, or no more.
    Typing(Arc<Typing>),
    /// Somebody's cursor moved.
    Moved(Arc<Moved>),
    /// The user's place in this conversation may be new: it was linked, or the user was added.
    Changed(ConversationId),
    /// The user was removed: nothing more of it may be delivered.
    Removed(ConversationId),
    /// Nothing but: look whether you lag.
    Wake,
}

impl Hint {
    /// Which conversation it is about, if one.
    pub(crate) fn conversation(&self) -> Option<ConversationId> {
        match self {
            Self::Message(delivery) => Some(delivery.message().conversation),
            Self::Change(change) => Some(change.conversation),
            // Nothing is made up for when it is lost.
            Self::Typing(_) => None,
            Self::Moved(moved) => Some(moved.conversation),
            Self::Changed(conversation) | Self::Removed(conversation) => Some(*conversation),
            Self::Wake => None,
        }
    }
}

/// A user is writing in a conversation, or no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Typing {
    /// Where.
    pub(crate) conversation: ConversationId,
    /// Who.
    pub(crate) user: UserId,
    /// Or no more.
    pub(crate) on: bool,
}

/// A user got further in a conversation.
#[derive(Debug)]
pub(crate) struct Moved {
    /// Where.
    pub(crate) conversation: ConversationId,
    /// Who.
    pub(crate) user: UserId,
    /// How far everything is delivered to the user's best device, before and after.
    pub(crate) delivered: (Seq, Seq),
    /// How far the user has read, before and after.
    pub(crate) read: (Seq, Seq),
    /// How many take part.
    pub(crate) members: usize,
    /// How far everybody has got.
    pub(crate) floors: Arc<Floors>,
}

/// Turns events into hints.
#[derive(Clone)]
pub(crate) struct Fanout {
    directory: Directory,
}

impl Fanout {
    /// Publishes to the sessions of `directory`.
    pub(crate) fn new(directory: Directory) -> Self {
        Self { directory }
    }

    fn one(&self, event: ShardEvent) {
        match event {
            ShardEvent::Message { message, audience } => {
                let hint = Hint::Message(Arc::new(Delivery::new(message, Arc::clone(&audience))));
                self.directory.post_all(&audience.members, &hint);
            }
            ShardEvent::Change { change, audience } => {
                self.directory.post_all(&audience.members, &Hint::Change(change));
            }
            ShardEvent::Cursors { conversation, user, delivered, read, audience, floors } => {
                let members = audience.members.len();
                let moved = Moved { conversation, user, delivered, read, members, floors };
                self.directory.post_all(&audience.members, &Hint::Moved(Arc::new(moved)));
            }
            ShardEvent::Members { conversation, added, removed } => {
                for user in &added {
                    self.directory.post(user, &Hint::Changed(conversation));
                }
                for user in
                    removed.iter().filter(|_| !planted::bug(planted::Bug::RemovedStillFannedOut))
                {
                    self.directory.post(user, &Hint::Removed(conversation));
                }
            }
            ShardEvent::User { user, event } => self.user(&user, &event),
        }
    }

    fn user(&self, user: &UserId, event: &UserEvent) {
        match event {
            UserEvent::SessionEnded { device } => self.directory.end(user, *device),
            UserEvent::PasswordChanged { ended } => {
                ended.iter().for_each(|device| self.directory.end(user, *device));
            }
            UserEvent::Linked { conversation, .. } | UserEvent::Unlinked { conversation } => {
                self.directory.post(user, &Hint::Changed(*conversation));
            }
            UserEvent::Created
            | UserEvent::SessionOpened { .. }
            | UserEvent::PushAdded { .. }
            | UserEvent::PushRemoved { .. } => {}
        }
    }
}

impl Publish for Fanout {
    fn replaced(&self, _slots: Range<u16>) {
        // Rare, and every session has conversations in most slots: all look at all of theirs.
        self.directory.lag_all();
    }

    fn publish(&self, events: Vec<ShardEvent>) {
        if self.directory.is_empty() {
            return;
        }
        for event in events {
            figures::fanned_out(&event).increment(1);
            self.one(event);
        }
    }
}

#[cfg(test)]
mod tests;
