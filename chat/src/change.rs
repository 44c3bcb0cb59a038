//! What becomes of a conversation after something was said: messages are edited, deleted, reacted
//! to; groups are renamed, roles given, members come and go.
//!
//! Changes are numbered 1, 2, 3 … per conversation in an order of their own. They take no sequence
//! and leave the hash chain alone: a message keeps its place and its chain value for ever, and its
//! [`Overlay`] says what it reads as now. Laying all changes over the messages, in their order,
//! always comes to the overlays.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::chain::Digest;
use crate::conversation::{Retention, Role};
use crate::id::{DeviceId, MessageId, UserId};
use crate::message::Message;
use crate::number::{ChangeNumber, Seq, Timestamp};
use crate::slot::ConversationId;

/// One change, with its place for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where it happened.
    pub conversation: ConversationId,
    /// Its place among the changes there, from 1.
    pub number: ChangeNumber,
    /// Who did it.
    pub by: UserId,
    /// When; never earlier than the change or the message before.
    pub at: Timestamp,
    /// The last sequence when it happened.
    pub after: Seq,
    /// What.
    pub what: What,
}

/// What was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A message reads otherwise.
    Edited {
        /// Which.
        seq: Seq,
        /// How; `None` when the message was deleted since.
        text: Option<String>,
    },
    /// A message is gone for everybody.
    Deleted {
        /// Which.
        seq: Seq,
    },
    /// A user reacted to a message.
    Reacted {
        /// To which.
        seq: Seq,
        /// How; the empty text takes the reaction back.
        reaction: String,
    },
    /// The group has another name.
    Renamed {
        /// Which.
        name: String,
    },
    /// A member may do more, or less.
    RoleSet {
        /// Who.
        member: UserId,
        /// What.
        role: Role,
    },
    /// Users were taken into the group.
    Added {
        /// Those who were not in it before.
        members: BTreeSet<UserId>,
    },
    /// A user was taken out of the group, or left.
    Removed {
        /// Whom.
        member: UserId,
        /// Who became owner because no other was left.
        promoted: Option<UserId>,
    },
    /// Messages are kept for another time.
    RetentionSet {
        /// For how long; `None`: for ever.
        retention: Option<Retention>,
    },
}

impl What {
    /// The message that it is about, if it is about one.
    pub fn seq(&self) -> Option<Seq> {
        match self {
            Self::Edited { seq, .. } | Self::Deleted { seq } | Self::Reacted { seq, .. } => {
                Some(*seq)
            }
            Self::Renamed { .. }
            | Self::RoleSet { .. }
            | Self::Added { .. }
            | Self::Removed { .. }
            | Self::RetentionSet { .. } => None,
        }
    }

    /// Whether a message reads otherwise after it.
    pub fn is_of_text(&self) -> bool {
        matches!(self, Self::Edited { .. } | Self::Deleted { .. })
    }

    /// Takes out what was said, because the message it was said of is deleted.
    pub fn erase(&mut self) {
        if let Self::Edited { text, .. } = self {
            *text = None;
        }
    }
}

/// What a message reads as, where that is no longer what was first said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overlay {
    /// Its text, if it was edited and not deleted.
    pub text: Option<String>,
    /// Its edits, in their order.
    pub edits: Vec<ChangeNumber>,
    /// When it was last edited; 0 when it never was.
    pub edited_at: Timestamp,
    /// That it was deleted, by which change.
    pub deleted: Option<ChangeNumber>,
    /// Who reacts how, and since which change.
    pub reactions: BTreeMap<UserId, Reaction>,
}

/// One user's reaction to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reaction {
    /// Not empty.
    pub text: String,
    /// Since then.
    pub change: ChangeNumber,
}

impl Overlay {
    /// The changes that made it what it is, in their order.
    pub fn trail(&self) -> BTreeSet<ChangeNumber> {
        let reactions = self.reactions.values().map(|reaction| reaction.change);
        self.edits.iter().copied().chain(self.deleted).chain(reactions).collect()
    }
}

/// A wish to change one message. Carries an id of the client's own, so that it happens once however
/// often it is repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeMessage {
    /// Who wishes it.
    pub by: UserId,
    /// On which device.
    pub device: DeviceId,
    /// The client's own id of the change.
    pub change_id: MessageId,
    /// The message.
    pub seq: Seq,
    /// What is wished.
    pub wish: Wish,
}

/// What may be wished of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// It shall read so.
    Edit(String),
    /// It shall be gone for everybody.
    Delete,
    /// This is the user's reaction to it; the empty text takes it back.
    React(String),
}

/// An earlier change of the same device and change id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EarlierChange {
    /// Its place.
    pub number: ChangeNumber,
    /// When it was accepted.
    pub at: Timestamp,
    /// The digest of the wish.
    pub digest: Digest,
}

/// A message that somebody wishes to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// As it is stored.
    pub message: Arc<Message>,
    /// What lies over it.
    pub overlay: Overlay,
}

/// A change that is to be stored, with what it brings about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The change.
    pub change: Arc<Change>,
    /// What must be found again by its device and change id, if it has one.
    pub place: Option<EarlierChange>,
    /// What lies over the message now, if it is about one.
    pub overlay: Option<Overlay>,
    /// The message without what was said, to be stored in its place.
    pub erased: Option<Arc<Message>>,
    /// Earlier changes whose text goes with it: see [`What::erase`].
    pub emptied: Vec<ChangeNumber>,
}
