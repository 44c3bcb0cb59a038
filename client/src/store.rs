//! What a device remembers across its own end: the port, and what goes through it. The core says what is to be recorded, the
//! client's task writes the records of one turn in one transaction before it does anything else that the turn wants done.
//! [`Memory`] forgets with its process; [`Sqlite`] (feature `sqlite`) is a file of one device.
//!
//! The laws of a store, whatever it is made of:
//!
//! 1. A [`Commit::Durable`] that returned survives a kill and a power loss, and so does every commit before it. A commit is
//!    there whole or not at all.
//! 2. It belongs to one device of one user, and to one process at a time; everybody else is refused by name.
//! 3. A message that was told stays as it was told: one that contradicts it (another chain value at the same place) changes
//!    nothing and is reported, so that two histories are never mixed.

mod fold;
mod memory;
#[cfg(feature = "sqlite")]
mod sqlite;

use chat::{ConversationId, DeviceId, Order, Seq, UserId};
use proto::frame::SendRequest;
use proto::frames::{self, Problem};

use crate::{Receipt, Standing};

pub use memory::Memory;
#[cfg(feature = "sqlite")]
pub use sqlite::Sqlite;

/// The newest messages of one conversation that are kept, counted in sequences: months of a busy one. Older ones are read
/// from the cluster again.
pub const KEPT_OF_CONVERSATION_MAX: u64 = 10_000;
/// Messages that are kept of all conversations together, some 200 MB of the usual size. Beyond it the oldest tenth goes.
pub const KEPT_MAX: u64 = 200_000;
/// Refused messages that are kept to be shown. Beyond it the oldest goes.
pub const REFUSED_MAX: usize = 256;

/// Whose store it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub user: UserId,
    /// The device. Orders and cursors are of one device and mean nothing to another.
    pub device: DeviceId,
}

/// How far a commit has to have got before it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// It survives the end of the process.
    Soon,
    /// It survives the end of the machine, and all commits before it do.
    Durable,
}

/// One thing to remember.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// A message is to be sent. Tickets rise in the order of sending.
    Queued {
        /// Names it in this store for ever.
        ticket: u64,
        /// Where to.
        conversation: ConversationId,
        /// What. Its order is recorded apart, when it has one.
        request: Box<SendRequest>,
    },
    /// It is sent under this order from now on, or under none again.
    Numbered {
        /// Which.
        ticket: u64,
        /// The order.
        order: Option<Order>,
    },
    /// The order that the next message of this conversation has; `None` when only the cluster knows.
    Counting {
        /// Where.
        conversation: ConversationId,
        /// The next order.
        next: Option<u64>,
        /// The highest that the cluster was heard to have stored; 0 for none.
        highest: u64,
    },
    /// The cluster has it: it leaves the outbox and is part of history.
    Sent {
        /// Which.
        ticket: u64,
        /// Where it is.
        receipt: Box<Receipt>,
    },
    /// The cluster refused it for good: it leaves the outbox and is kept to be shown.
    Refused {
        /// Which.
        ticket: u64,
        /// Why.
        problem: Box<Problem>,
    },
    /// A node told this message: new, again, or as it reads now.
    Message(Box<frames::Message>),
    /// A node told this change, ascending in each conversation, perhaps again.
    Change(Box<frames::Change>),
    /// Messages up to here expired.
    Expired {
        /// Where.
        conversation: ConversationId,
        /// The last of them.
        up_to: Seq,
    },
    /// How far the application has got, and how much of that the cluster knows.
    Standing {
        /// Where.
        conversation: ConversationId,
        /// How far.
        wanted: Standing,
        /// How far the cluster knows.
        confirmed: Standing,
    },
    /// The same of changes.
    ChangesTaken {
        /// Where.
        conversation: ConversationId,
        /// How far.
        wanted: u64,
        /// How far the cluster knows.
        confirmed: u64,
    },
    /// Everybody else has own messages up to here.
    Status {
        /// Where.
        conversation: ConversationId,
        /// Delivered up to here.
        delivered: Seq,
        /// Read up to here.
        read: Seq,
    },
    /// What the next link begins with.
    Resume(String),
    /// Everything that was told of this conversation is void. What waits to be sent there stays.
    Forget(ConversationId),
}

/// What a client begins with.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Kept {
    /// The highest ticket that was ever used.
    pub last_ticket: u64,
    /// The newest resume token; empty for none.
    pub resume: String,
    /// What waits to be sent, in the order of sending.
    pub outbox: Vec<KeptSend>,
    /// Where each conversation stands.
    pub lanes: Vec<KeptLane>,
}

/// A message that waits to be sent, or to be answered.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptSend {
    /// Its name.
    pub ticket: u64,
    /// Where to.
    pub conversation: ConversationId,
    /// What, with the order that it was sent under, if any.
    pub request: SendRequest,
}

/// Where one conversation stands.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptLane {
    /// Which.
    pub conversation: ConversationId,
    /// The order of the next message.
    pub next_order: Option<u64>,
    /// The highest order that the cluster was heard to have stored.
    pub highest_order: u64,
    /// How far the application has got.
    pub wanted: Standing,
    /// How much of that the cluster knows.
    pub confirmed: Standing,
    /// How far it has got with changes.
    pub changes_wanted: u64,
    /// How much of that the cluster knows.
    pub changes_confirmed: u64,
    /// The last status: delivered, read.
    pub status: (Seq, Seq),
}

/// The last message of a conversation whose chain value is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Where.
    pub conversation: ConversationId,
    /// Its place.
    pub seq: Seq,
    /// The chain value after it.
    pub chain: bytes::Bytes,
}

/// A conversation as it is kept here.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptConversation {
    /// Which.
    pub conversation: ConversationId,
    /// Its newest message that is kept.
    pub last: Option<frames::Message>,
    /// How far this device's application has got.
    pub standing: Standing,
    /// How far everybody else has own messages: delivered, read.
    pub status: (Seq, Seq),
    /// Messages that wait to be sent there.
    pub pending: usize,
}

/// A part of history as it is kept here.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KeptPage {
    /// Ascending.
    pub messages: Vec<frames::Message>,
    /// No sequence is missing between the first and the last, nor up to where it was asked for. What is missing was never
    /// told to this device, or has expired: the cluster knows.
    pub whole: bool,
}

/// A message that the cluster refused for good.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptRefusal {
    /// What was to be sent.
    pub send: KeptSend,
    /// Why it was not.
    pub problem: Problem,
}

/// Why a store cannot be used. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error("the store is in use by another process")]
    InUse,
    /// It is the store of somebody else.
    #[error("the store belongs to {held}, not to {asked}")]
    OtherAccount {
        /// Whose it is.
        held: UserId,
        /// Who wants it.
        asked: UserId,
    },
    /// It is this user's, on another device: orders and cursors of one device mean nothing to another.
    #[error("the store belongs to device {held}, not to device {asked}")]
    OtherDevice {
        /// Whose it is.
        held: DeviceId,
        /// Who wants it.
        asked: DeviceId,
    },
    /// A later version of this client wrote it.
    #[error("the store has version {found}; this client knows versions up to {known}")]
    Newer {
        /// What is there.
        found: u32,
        /// What this client knows.
        known: u32,
    },
    /// The file is something else.
    #[error("the file is no store of this client")]
    Foreign,
    /// What is there makes no sense.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// The disk, or what lies above it, would not do it.
    #[error("the store cannot be used: {0}")]
    Failed(String),
}

/// What keeps a device's memory. One client has it; its calls block for as long as the disk takes.
pub trait Store: Send + 'static {
    /// Says who comes, and reads what there is. The first who comes owns the store from then on.
    ///
    /// # Errors
    /// [`StoreError`].
    fn begin(&mut self, who: &Owner) -> Result<Kept, StoreError>;

    /// Remembers all of this or nothing. Conversations with a message that contradicts what is kept are returned.
    ///
    /// # Errors
    /// [`StoreError`]; the caller stops.
    fn commit(
        &mut self,
        records: &[Record],
        how: Commit,
    ) -> Result<Vec<ConversationId>, StoreError>;

    /// The last message with a chain value of each conversation.
    ///
    /// # Errors
    /// [`StoreError`].
    fn heads(&mut self) -> Result<Vec<Head>, StoreError>;

    /// The newest messages below `before`, or of all, ascending.
    ///
    /// # Errors
    /// [`StoreError`].
    fn history(
        &mut self,
        conversation: ConversationId,
        before: Option<Seq>,
        limit: usize,
    ) -> Result<KeptPage, StoreError>;

    /// All conversations that something is kept of, those with the latest news first.
    ///
    /// # Errors
    /// [`StoreError`].
    fn conversations(&mut self) -> Result<Vec<KeptConversation>, StoreError>;

    /// What waits to be sent, in the order of sending.
    ///
    /// # Errors
    /// [`StoreError`].
    fn pending(&mut self) -> Result<Vec<KeptSend>, StoreError>;

    /// What was refused, the oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    fn refusals(&mut self) -> Result<Vec<KeptRefusal>, StoreError>;
}

fn check_owner(held: &Owner, asked: &Owner) -> Result<(), StoreError> {
    if held.user != asked.user {
        let (held, asked) = (held.user.clone(), asked.user.clone());
        return Err(StoreError::OtherAccount { held, asked });
    }
    if held.device != asked.device {
        return Err(StoreError::OtherDevice { held: held.device, asked: asked.device });
    }
    Ok(())
}

/// A conversation of which nothing is known yet.
fn no_lane(conversation: ConversationId) -> KeptLane {
    KeptLane {
        conversation,
        next_order: None,
        highest_order: 0,
        wanted: Standing::default(),
        confirmed: Standing::default(),
        changes_wanted: 0,
        changes_confirmed: 0,
        status: (Seq(0), Seq(0)),
    }
}

/// The records that are about nothing but a lane.
fn note_standing(lane: &mut KeptLane, record: &Record) {
    match record {
        Record::Standing { wanted, confirmed, .. } => {
            (lane.wanted, lane.confirmed) = (*wanted, *confirmed);
        }
        Record::ChangesTaken { wanted, confirmed, .. } => {
            (lane.changes_wanted, lane.changes_confirmed) = (*wanted, *confirmed);
        }
        Record::Counting { next, highest, .. } => {
            (lane.next_order, lane.highest_order) = (*next, *highest);
        }
        Record::Status { delivered, read, .. } => lane.status = (*delivered, *read),
        _ => {}
    }
}

/// Sequences are dense, so that what is missing shows.
fn is_whole(messages: &[frames::Message], before: Option<Seq>) -> bool {
    let dense = messages.windows(2).all(|pair| pair[0].seq + 1 == pair[1].seq);
    let reaches = match (before, messages.last()) {
        (Some(before), Some(last)) => last.seq + 1 == before.0,
        (Some(before), None) => before.0 <= 1,
        (None, _) => true,
    };
    dense && reaches
}

fn newest_first(conversations: &mut [KeptConversation]) {
    let at = |kept: &KeptConversation| kept.last.as_ref().map_or(0, |message| message.at_ms);
    conversations.sort_by_key(|kept| std::cmp::Reverse((at(kept), kept.conversation)));
}

#[cfg(test)]
mod tests;
