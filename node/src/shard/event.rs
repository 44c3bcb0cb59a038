//! What a shard tells the rest of its node, on every replica, after it is persisted. A hint: whoever misses one reads
//! the tables, which are the truth.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use chat::{Change, ConversationId, Floors, Kind, Member, Message, Seq, UserEvent, UserId};
use raft::GroupId;

/// Something that holds from now on.
#[derive(Clone, Debug)]
pub(crate) enum ShardEvent {
    /// Something was said.
    Message {
        /// What, where and by whom.
        message: Arc<Message>,
        /// To whom.
        audience: Arc<Audience>,
    },
    /// A user has got further on their furthest device. A device that only catches up tells nobody.
    Cursors {
        /// Where.
        conversation: ConversationId,
        /// Who.
        user: UserId,
        /// Has everything up to here: before, and now.
        delivered: (Seq, Seq),
        /// Has read everything up to here: before, and now.
        read: (Seq, Seq),
        /// Who takes part.
        audience: Arc<Audience>,
        /// How far everybody has got now.
        floors: Arc<Floors>,
    },
    /// Something was changed.
    Change {
        /// What, where and by whom.
        change: Arc<Change>,
        /// Who takes part now.
        audience: Arc<Audience>,
    },
    /// Users came or went. A group that came into being is one to which everybody came.
    Members {
        /// Where.
        conversation: ConversationId,
        /// Who came.
        added: Vec<UserId>,
        /// Who went.
        removed: Vec<UserId>,
    },
    /// Something happened to a user record.
    User {
        /// Whose.
        user: UserId,
        /// What.
        event: UserEvent,
    },
}

/// Who takes part in a conversation. Made once and shared by all events until the membership changes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Audience {
    /// Between whom the conversation is.
    pub(crate) kind: Kind,
    /// Every member, with role and the sequence at which they came.
    pub(crate) members: BTreeMap<UserId, Member>,
}

/// Where events go. Called on the group's thread: must not wait for anything.
pub(crate) trait Publish: Send + Sync {
    /// Takes what one batch brought about, in the order in which it happened.
    fn publish(&self, events: Vec<ShardEvent>);

    /// Everything up to `index` of a shard's log was told of. What came last changed these conversations, or put them on
    /// somebody's list.
    fn settled(&self, group: GroupId, index: u64, conversations: &BTreeSet<ConversationId>) {
        let _ = (group, index, conversations);
    }

    /// A shard over these slots goes on from `index`; what came before is not known here.
    fn stands(&self, group: GroupId, slots: Range<u16>, index: u64) {
        let _ = (group, slots, index);
    }

    /// A shard has only these slots left; for what was split off it another one stands.
    fn keeps(&self, group: GroupId, slots: Range<u16>) {
        let _ = (group, slots);
    }

    /// The state of these slots was replaced as a whole: anything in it may have moved, and no event told of it. Whoever
    /// follows a conversation there reads anew.
    fn replaced(&self, slots: Range<u16>) {
        let _ = slots;
    }
}
