//! What a decision brings about: the outcome, what happened, which rows to rewrite, and what other
//! shards are owed.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::change::{Change, Recorded};
use crate::command::Earlier;
use crate::conversation::{Best, Cursor, Floors};
use crate::id::{DeviceId, GroupId, UserId};
use crate::message::Message;
use crate::number::{ChangeNumber, Seq};
use crate::outcome::Outcome;
use crate::slot::ConversationId;

/// A decision in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// For whoever asked.
    pub outcome: Outcome,
    /// For whoever listens; `None` when nothing happened.
    pub event: Option<Event>,
    /// For whoever persists.
    pub changed: Changed,
    /// For the outbox, in order.
    pub owed: Vec<Owed>,
}

/// What happened in a conversation.
#[expect(
    clippy::large_enum_variant,
    reason = "an event is moved once, from the decision to its listener; a box would cost each confirmation more"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Something was said.
    MessageSent(Arc<Message>),
    /// A device has got further.
    CursorMoved {
        /// Whose device.
        user: UserId,
        /// Which.
        device: DeviceId,
        /// Where the device stood.
        before: Cursor,
        /// Where it stands.
        after: Cursor,
        /// Where the user stood, over all devices.
        best_before: Best,
        /// Where the user stands.
        best_after: Best,
        /// How far everybody has got, after the move.
        floors: Floors,
    },
    /// Something that was said, the group, or who takes part in it, was changed.
    Changed(Arc<Change>),
    /// A group came into being.
    GroupCreated,
}

/// Which rows differ from before, so that no more is written than must be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// The head.
    pub head: bool,
    /// A message to be stored.
    pub message: Option<Arc<Message>>,
    /// With it, its place: what must be found again by its device and message id.
    pub place: Option<Earlier>,
    /// A change to be stored, with what goes with it.
    pub change: Option<Box<Recorded>>,
    /// What expired, to be erased.
    pub expired: Option<Box<Expired>>,
    /// Whether messages are kept for ever, or no more.
    pub retention: bool,
    /// Memberships; a user who is absent from the members now has their row deleted.
    pub members: BTreeSet<UserId>,
    /// The producer of this device.
    pub producer: Option<DeviceId>,
    /// The cursor of this device.
    pub cursor: Option<DeviceId>,
}

/// Messages whose time has passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired {
    /// Everything up to here.
    pub up_to: Seq,
    /// Those that said something, without what they said, to be stored in their places.
    pub messages: Vec<Arc<Message>>,
    /// Those over which nothing may lie any more.
    pub laid: Vec<Seq>,
    /// Earlier changes whose text goes with them: see [`What::erase`](crate::What::erase).
    pub emptied: Vec<ChangeNumber>,
}

impl Changed {
    /// Whether nothing is to be written.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// An act that another shard owes this one: a user's list of conversations must name it, or no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owed {
    /// The conversation belongs into the user's list.
    Link {
        /// Whose list.
        user: UserId,
        /// What.
        conversation: ConversationId,
        /// With whom.
        to: LinkTo,
    },
    /// The conversation belongs there no more.
    Unlink {
        /// Whose list.
        user: UserId,
        /// What.
        conversation: ConversationId,
    },
}

impl Owed {
    /// Whose list it is about.
    pub fn user(&self) -> &UserId {
        match self {
            Self::Link { user, .. } | Self::Unlink { user, .. } => user,
        }
    }
}

/// Whom a conversation in a user's list is with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkTo {
    /// The other user of a direct conversation.
    Peer(UserId),
    /// A group.
    Group(GroupId),
}
