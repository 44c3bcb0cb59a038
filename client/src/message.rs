//! What goes into a client and what comes out, in the words of the application.

use chat::{Body, ConversationId, GroupId, MessageId, Order, Seq, Timestamp, UserId};
use proto::frame::SendTo;
use proto::frames;

/// Where a message is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// The direct conversation with this user.
    User(UserId),
    /// A group.
    Group(GroupId),
    /// A conversation that is known by its id. A direct one must exist already.
    Conversation(ConversationId),
}

impl To {
    /// The conversation, as `own` sees it.
    pub fn conversation(&self, own: &UserId) -> ConversationId {
        match self {
            To::User(user) => ConversationId::direct(own, user),
            To::Group(group) => ConversationId::group(group),
            To::Conversation(id) => *id,
        }
    }
}

impl From<To> for SendTo {
    fn from(to: To) -> SendTo {
        match to {
            To::User(user) => SendTo::Receiver(user),
            To::Group(group) => SendTo::Group(group),
            To::Conversation(id) => SendTo::Conversation(id),
        }
    }
}

/// A message to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Where to.
    pub to: To,
    /// The application's own id of it; sending the same id again stores it once. `None`: a random one.
    pub message_id: Option<MessageId>,
    /// What is said.
    pub body: Body,
}

impl Outgoing {
    /// A message of text alone.
    pub fn text(to: To, text: impl Into<String>) -> Outgoing {
        let body = Body { text: text.into(), ..Body::default() };
        Outgoing { to, message_id: None, body }
    }
}

/// A message is on the stable storage of a quorum, and this is its place for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Where.
    pub conversation: ConversationId,
    /// Its place there.
    pub seq: Seq,
    /// When, by the cluster's clock.
    pub at: Timestamp,
    /// The id it was sent under.
    pub message_id: MessageId,
    /// As the how-manieth of this device there.
    pub order: Order,
}

/// Where this device's cursors stand in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// It has everything up to here.
    pub delivered: Seq,
    /// Its user has read everything up to here.
    pub read: Seq,
}

/// What comes in, in order.
#[expect(clippy::large_enum_variant, reason = "nearly all items are messages")]
#[derive(Debug, Clone, PartialEq)]
pub enum Incoming {
    /// A message, the next of its conversation: each exactly once, without a gap.
    Message(frames::Message),
    /// Own messages of a conversation have got further with everybody else. Never goes back.
    Status {
        /// Where.
        conversation: ConversationId,
        /// Every other member has own messages up to here.
        delivered: Seq,
        /// Every other member has read own messages up to here.
        read: Seq,
    },
    /// Something was changed: edited, deleted, reacted to, or in the group. Each exactly once, ascending in its
    /// conversation, after the messages that were said before it.
    Change(frames::Change),
    /// How somebody is who is watched: at first, and whenever it is news.
    Presence {
        /// Who.
        user: UserId,
        /// Has a link somewhere.
        online: bool,
        /// The last sign of life, if there was one.
        last_seen: Option<Timestamp>,
        /// Whether they are this user's to watch. If not, nothing else is said of them.
        allowed: bool,
    },
    /// The node does not watch whom it was asked to.
    NotWatching {
        /// Why.
        reason: String,
    },
    /// All that was stored before this link began has come in.
    CaughtUp,
    /// A link stands and carries everything from now on. Also said when it took the place of another.
    LinkUp {
        /// The node's own id.
        node: u64,
    },
    /// No link stands; another is being sought.
    LinkDown {
        /// Why.
        reason: String,
    },
    /// The cluster's history of this conversation is not what it was (a restore, a recovery with one survivor): what was
    /// handed over of it before is void. The store has forgotten it and fills itself again; what this device has not
    /// confirmed comes next. Only with a store.
    Rewritten {
        /// Where.
        conversation: ConversationId,
    },
    /// The store cannot be written: the client stops, since it could keep no promise. Nothing comes after this.
    StoreFailed {
        /// Why.
        reason: String,
    },
    /// The session is over: nothing comes after this. The only way on is to log in again.
    SessionEnded {
        /// Why.
        reason: String,
    },
}

/// Whose history, and which part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Which conversation.
    pub of: To,
    /// Above this sequence, ascending from there; 0 from the beginning.
    pub after: Seq,
    /// The last ones below this sequence instead; not together with `after`.
    pub before: Option<Seq>,
    /// 1 to 100.
    pub limit: u32,
    /// What the answer must have seen.
    pub consistency: Consistency,
}

/// What a read of history must have seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Consistency {
    /// Every message acknowledged before the read began.
    #[default]
    Linearizable,
    /// At least this sequence.
    AtLeast(Seq),
    /// Whatever the node has.
    Local,
}

/// A page of history, ascending.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The messages.
    pub messages: Vec<frames::Message>,
    /// The conversation's last sequence as far as the read saw.
    pub last_seq: Seq,
}

/// A group that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its id.
    pub group: GroupId,
    /// Its conversation.
    pub conversation: ConversationId,
}
