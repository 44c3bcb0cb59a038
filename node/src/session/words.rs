//! What a session hears, says and wants done, in words that belong to neither face.
//!
//! A face turns bytes into [`Ask`] and [`Say`] into bytes; the driver carries out [`Action`]. The core in between
//! knows neither bytes nor tasks.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use chat::{
    Change, ChangeNumber, Command, ConversationId, Kind, Message, MessageId, Order, Overlay, Seq,
    Timestamp, UserId,
};
use proto::Problem;
use proto::frame::{ChangeRequest, SendRequest};
use transport::CloseReason;

use crate::fanout::{Delivery, Typing};
use crate::gateway::tokens::Identity;
use crate::history::{Page, Query};
use crate::presence::Told;

/// Something that waits for an answer from below; unique within a session.
pub(crate) type Ticket = u64;

/// What a client asks.
#[derive(Debug)]
pub(crate) enum Ask {
    /// Who speaks.
    Hello {
        /// The access token.
        token: String,
        /// What an earlier link was given for this one. Empty: there was none, but this one shall be given some.
        resume: Option<String>,
    },
    /// Say something.
    Send(Outgoing),
    /// This device has got so far.
    Confirm { tag: u64, conversation: ConversationId, seq: Seq, read: bool },
    /// A message shall read otherwise.
    Change(ChangeRequest),
    /// This device has these changes.
    ConfirmChanges { tag: u64, conversation: ConversationId, change: ChangeNumber },
    /// The user is writing, or no more.
    Typing { conversation: ConversationId, on: bool },
    /// The same, in the conversation that a message to this user would go to.
    TypingTo { receiver: UserId, on: bool },
    /// Tell of these users, and of no others.
    Watch(BTreeSet<UserId>),
    /// A page of history.
    ReadHistory { tag: u64, query: Query },
    /// Are you there?
    Ping { tag: u64 },
    /// Something that reads as a request but is not valid: the answer is ready.
    Invalid(Box<Say>),
}

/// A message on its way in.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// The sender that the client names, if it names one. It must be the authenticated user.
    pub(crate) sender: Option<String>,
    /// The conversations that its references name: all must be its own.
    pub(crate) within: BTreeSet<ConversationId>,
    pub(crate) request: SendRequest,
}

/// What a session says.
#[derive(Debug, Clone)]
pub(crate) enum Say {
    /// The session is open.
    Welcome { connection_id: String, who: Identity, resume: String, reset: bool },
    /// Something newer for the next link; or that this one began anew after all.
    Resume { token: String, reset: bool },
    /// What became of a message; exactly one for each.
    Sent {
        tag: u64,
        conversation: Option<ConversationId>,
        message_id: String,
        result: Result<Stored, Problem>,
    },
    /// A message that was stored just now.
    Live(Arc<Delivery>),
    /// Messages read from the log, ascending.
    Stored {
        kind: Arc<Kind>,
        messages: Vec<Message>,
        overlays: BTreeMap<Seq, Overlay>,
        catching_up: bool,
    },
    /// What became of a wish to change a message; exactly one for each.
    Changed {
        tag: u64,
        conversation: Option<ConversationId>,
        change_id: String,
        result: Result<Altered, Problem>,
    },
    /// Changes of one conversation, ascending.
    Changes(Vec<Arc<Change>>),
    /// What became of a confirmation of changes: where the device stands.
    ChangesConfirmed {
        tag: u64,
        conversation: Option<ConversationId>,
        result: Result<ChangeNumber, Problem>,
    },
    /// Somebody is writing, or no more.
    Typing(Typing),
    /// How some of those who are watched are now.
    Presence(Vec<(UserId, Told)>),
    /// A list of those to watch was not understood.
    NotWatched { tag: u64, problem: Problem },
    /// Everything that was stored before the link began has been said.
    CaughtUp,
    /// What became of the user's own messages.
    Status(News),
    /// What became of a confirmation.
    Confirmed { tag: u64, conversation: Option<ConversationId>, result: Result<Marks, Problem> },
    /// A page of history.
    Page { tag: u64, result: Result<Page, Problem> },
    /// The link ends because of this, or a frame could not be taken.
    Failed(Problem),
    /// Yes.
    Pong { tag: u64 },
    /// This node is leaving; others are at these addresses.
    GoAway { addresses: Vec<String>, resume: Option<String> },
}

/// The place of a message that is on the disks of a quorum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) seq: Seq,
    pub(crate) at: Timestamp,
    pub(crate) order: Order,
    pub(crate) duplicate: bool,
    /// What this link was told or knows already, so that a status never goes back.
    pub(crate) delivered: bool,
    pub(crate) read: bool,
}

/// The place of a change that is on the disks of a quorum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Altered {
    pub(crate) number: ChangeNumber,
    pub(crate) at: Timestamp,
    pub(crate) duplicate: bool,
}

/// A wish without an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wished {
    pub(crate) tag: u64,
    pub(crate) conversation: ConversationId,
    /// `None`: changes are confirmed.
    pub(crate) change_id: Option<MessageId>,
}

/// A pair of watermarks: `read <= delivered` where both are of one device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    pub(crate) delivered: Seq,
    pub(crate) read: Seq,
}

impl Marks {
    /// Moves both forwards to `to`, never back.
    pub(crate) fn raise(&mut self, to: Self) {
        self.delivered = self.delivered.max(to.delivered);
        self.read = self.read.max(to.read);
    }
}

/// Somebody else got further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct News {
    /// Whose messages.
    pub(crate) user: UserId,
    pub(crate) conversation: ConversationId,
    pub(crate) kind: Arc<Kind>,
    /// All others have got so far.
    pub(crate) floors: Marks,
    /// Whether `floors` moved; otherwise only one member of a small group did.
    pub(crate) floors_moved: bool,
    /// Messages whose status may read otherwise now: after the first, up to the second.
    pub(crate) touched: (Seq, Seq),
}

/// What the core wants its driver to do, in this order.
#[derive(Debug)]
pub(crate) enum Action {
    /// Settle who holds this token; answer with `handle_admitted`.
    Authenticate { token: String, resume: Option<String> },
    /// Find out where the device stands in all conversations; answer with `handle_opened`.
    Open,
    /// Propose; answer with `handle_outcome`. Proposals are to be submitted in this order.
    Propose { ticket: Ticket, proposal: Proposal },
    /// Read what follows `after` from the local replica; answer with `handle_page`.
    Read { conversation: ConversationId, after: Seq },
    /// Read the changes that follow `after` from the local replica; answer with `handle_changes`.
    ReadChanges { conversation: ConversationId, after: ChangeNumber },
    /// Tell the members of a conversation everywhere that the user is writing, or no more.
    TellTyping(Typing),
    /// Watch these users, and no others.
    Watch(BTreeSet<UserId>),
    /// Look at one conversation again; answer with `handle_position`.
    Refresh(ConversationId),
    /// Look at how far the others are; answer with `handle_floors`.
    Floors(ConversationId),
    /// Wait until the local replica has caught up with this slot, however long it takes; answer with `handle_fresh`.
    Freshen(u16),
    /// Answer a client's question about history with `handle_history`.
    History { ticket: Ticket, query: Query },
    /// Tell the client.
    Say(Say),
    /// End the link.
    Close(CloseReason),
}

/// A command for a conversation's shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proposal {
    pub(crate) conversation: ConversationId,
    pub(crate) command: Command,
    /// A user who must exist before this is proposed, because the conversation's shard cannot know.
    pub(crate) must_exist: Option<UserId>,
}
