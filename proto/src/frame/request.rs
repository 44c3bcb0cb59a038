//! What a client asks for, checked: the first place where its ids become ids. Limits of texts are the machine's to judge.

use chat::{Body, ConversationId, GroupId, MessageId, Order, Seq, UserId};

use crate::{DecodeError, frames, read};

/// Where a message is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendTo {
    /// To the direct conversation with this user.
    Receiver(UserId),
    /// To this group.
    Group(GroupId),
    /// To a conversation that is known by its id.
    Conversation(ConversationId),
}

/// A [`frames::Send`], checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendRequest {
    /// The client's mark for the answer.
    pub tag: u64,
    /// Where it is to go.
    pub to: SendTo,
    /// `None` when the client does not count.
    pub order: Option<Order>,
    /// The client's own id of it.
    pub message_id: MessageId,
    /// What is said.
    pub body: Body,
}

impl TryFrom<frames::Send> for SendRequest {
    type Error = DecodeError;

    fn try_from(send: frames::Send) -> Result<SendRequest, DecodeError> {
        use frames::send::To;
        let to = match send.to.ok_or_else(|| DecodeError::missing("to"))? {
            To::Receiver(receiver) => SendTo::Receiver(read::user("receiver", &receiver)?),
            To::Group(group) => SendTo::Group(read::group("group", &group)?),
            To::Conversation(id) => SendTo::Conversation(read::conversation("conversation", &id)?),
        };
        Ok(SendRequest {
            tag: send.tag,
            to,
            order: read::order(send.order),
            message_id: read::message_id("message_id", &send.message_id)?,
            body: read::body("body", send.body)?,
        })
    }
}

impl From<SendRequest> for frames::Send {
    fn from(send: SendRequest) -> frames::Send {
        use frames::send::To;
        let to = match &send.to {
            SendTo::Receiver(receiver) => To::Receiver(receiver.as_str().to_owned()),
            SendTo::Group(group) => To::Group(group.as_str().to_owned()),
            SendTo::Conversation(id) => To::Conversation(read::conversation_bytes(*id)),
        };
        frames::Send {
            tag: send.tag,
            to: Some(to),
            order: send.order.map_or(0, |order| order.0),
            message_id: send.message_id.as_str().to_owned(),
            body: Some(send.body.into()),
        }
    }
}

/// Whose history is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HistoryOf {
    /// The conversation with this user, or of the group of this name: they share one namespace.
    Peer(UserId),
    /// A conversation that is known by its id.
    Conversation(ConversationId),
}

/// A [`frames::ReadHistory`], checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryRequest {
    /// The client's mark for the answer.
    pub tag: u64,
    /// Whose.
    pub of: HistoryOf,
    /// Messages above this sequence; 0 for all.
    pub after: Seq,
    /// Messages below this sequence, the newest of them; not together with `after`.
    pub before: Option<Seq>,
    /// Messages on both sides of this sequence, itself included; alone.
    pub around: Option<Seq>,
    /// How many, not yet checked against the limit of a page.
    pub limit: u32,
    /// What the read must see.
    pub consistency: frames::Consistency,
    /// For [`frames::Consistency::AtLeast`]: the sequence that must be visible.
    pub at_least: Seq,
}

impl TryFrom<frames::ReadHistory> for HistoryRequest {
    type Error = DecodeError;

    fn try_from(history: frames::ReadHistory) -> Result<HistoryRequest, DecodeError> {
        use frames::read_history::Of;
        let of = match history.of.ok_or_else(|| DecodeError::missing("of"))? {
            Of::Peer(peer) => HistoryOf::Peer(read::user("peer", &peer)?),
            Of::Conversation(id) => {
                HistoryOf::Conversation(read::conversation("conversation", &id)?)
            }
        };
        if history.after != 0 && history.before != 0 {
            return Err(DecodeError::new("before", "together with after"));
        }
        if history.around != 0 && (history.after != 0 || history.before != 0) {
            return Err(DecodeError::new("around", "together with after or before"));
        }
        let consistency = frames::Consistency::try_from(history.consistency)
            .map_err(|_| DecodeError::new("consistency", "unknown"))?;
        Ok(HistoryRequest {
            tag: history.tag,
            of,
            after: Seq(history.after),
            before: (history.before != 0).then_some(Seq(history.before)),
            around: (history.around != 0).then_some(Seq(history.around)),
            limit: history.limit,
            consistency,
            at_least: Seq(history.at_least),
        })
    }
}

impl From<HistoryRequest> for frames::ReadHistory {
    fn from(history: HistoryRequest) -> frames::ReadHistory {
        use frames::read_history::Of;
        let of = match &history.of {
            HistoryOf::Peer(peer) => Of::Peer(peer.as_str().to_owned()),
            HistoryOf::Conversation(id) => Of::Conversation(read::conversation_bytes(*id)),
        };
        frames::ReadHistory {
            tag: history.tag,
            of: Some(of),
            after: history.after.0,
            before: history.before.map_or(0, |seq| seq.0),
            limit: history.limit,
            consistency: history.consistency.into(),
            at_least: history.at_least.0,
            around: history.around.map_or(0, |seq| seq.0),
        }
    }
}
