//! What can be asked of a conversation, and what its driver must look up before it is decided.

use std::collections::BTreeSet;

use crate::chain::Digest;
use crate::change::{ChangeMessage, EarlierChange, Subject};
use crate::conversation::{History, Retention, Role};
use crate::id::{DeviceId, GroupId, MessageId, UserId};
use crate::message::Body;
use crate::number::{ChangeNumber, Order, Seq, Timestamp};

/// One request to a conversation. Identity was settled before it was written: `by`, `sender` and
/// `user` are who they claim to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Bring a group into being.
    CreateGroup {
        /// Its id.
        group: GroupId,
        /// Its name on screens.
        name: String,
        /// Who creates it and owns it.
        owner: UserId,
        /// Who else takes part from the start; may name the owner again.
        members: BTreeSet<UserId>,
        /// What newcomers see.
        history: History,
    },
    /// Take users into a group; those who are in it already stay as they are.
    AddMembers {
        /// Who asks: an owner or an admin.
        by: UserId,
        /// Whom.
        members: BTreeSet<UserId>,
    },
    /// Take a user out of a group. Whoever takes out themselves leaves.
    RemoveMember {
        /// Who asks.
        by: UserId,
        /// Whom.
        member: UserId,
    },
    /// Say something.
    Send(SendMessage),
    /// Change something that was said.
    Change(ChangeMessage),
    /// Give a group another name.
    RenameGroup {
        /// Who asks: an owner or an admin.
        by: UserId,
        /// The name on screens.
        name: String,
    },
    /// Say what a member of a group may do.
    SetRole {
        /// Who asks: an owner.
        by: UserId,
        /// Of whom.
        member: UserId,
        /// What.
        role: Role,
    },
    /// Say how long messages are kept.
    SetRetention {
        /// Who asks: an owner of the group, either of the two of a direct conversation.
        by: UserId,
        /// How long; `None`: for ever.
        retention: Option<Retention>,
    },
    /// The time of messages has passed. Asked by the shard's leader, not by a user.
    Expire {
        /// Everything up to here, at most [`EXPIRE_MAX`](crate::limits::EXPIRE_MAX) more than before.
        up_to: Seq,
    },
    /// Tell which changes a device has.
    ConfirmChanges {
        /// Whose device.
        user: UserId,
        /// Which.
        device: DeviceId,
        /// Everything up to here.
        change: ChangeNumber,
    },
    /// Tell how far a device has got.
    Confirm {
        /// Whose device.
        user: UserId,
        /// Which.
        device: DeviceId,
        /// Everything up to here.
        seq: Seq,
        /// Read, and hence delivered; otherwise delivered only.
        read: bool,
        /// That it was read is nobody else's business: to others it is delivered only.
        hidden: bool,
    },
}

/// A message on its way in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendMessage {
    /// Who says it.
    pub sender: UserId,
    /// On which device.
    pub device: DeviceId,
    /// In a direct conversation: the other user, so that the first message can make it.
    pub receiver: Option<UserId>,
    /// The sender's count, from 1; `None` when the sender does not count.
    pub order: Option<Order>,
    /// The client's own id of the message.
    pub message_id: MessageId,
    /// What is said.
    pub body: Body,
}

/// What the driver looked up before the decision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// For a message: where this device's message of the same id stands, if there is one.
    pub earlier: Option<Earlier>,
    /// For the creation of a group: whether a user has this name.
    pub name_taken: bool,
    /// For a change of a message: this device's change of the same id, if there is one.
    pub change: Option<EarlierChange>,
    /// For a change of a message: that message, if there is one.
    pub target: Option<Subject>,
    /// For an expiry: all messages that are to expire, ascending.
    pub expiring: Vec<Subject>,
}

/// An earlier message of the same device and message id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// Its place.
    pub seq: Seq,
    /// When it was accepted.
    pub at: Timestamp,
    /// The sender's order it was given.
    pub order: Order,
    /// The digest of its body.
    pub digest: Digest,
}
