//! A message as it is stored and served: what the client said, and the place it was given.

use std::collections::BTreeSet;

use crate::chain::{Chain, Digest};
use crate::id::{DeviceId, MessageId, UserId};
use crate::number::{Order, Seq, Timestamp};
use crate::slot::{CanonicalId, ConversationId};

/// What the client said. Nothing in it is interpreted, only measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// The text, at most [`TEXT_BYTES_MAX`](crate::limits::TEXT_BYTES_MAX) bytes.
    pub text: String,
    /// The client's own time stamp, any string.
    pub client_timestamp: String,
    /// Whether the client says that something is attached.
    pub attachment: bool,
    /// Where the attachments are.
    pub attachment_uris: Vec<String>,
    /// The message that it answers.
    pub reply_to: Option<Seq>,
    /// The first message of the thread that it belongs to.
    pub thread: Option<Seq>,
    /// Whom it calls. Of a stored message: those who were members when it was accepted.
    pub mentions: BTreeSet<UserId>,
}

impl Body {
    /// What two bodies are compared by: equal digests mean the same text, attachments, references and
    /// mentions. The client's own time stamp may differ.
    pub fn digest(&self) -> Digest {
        Digest::of_body(self)
    }
}

/// A message with its place for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where it was said.
    pub conversation: ConversationId,
    /// Its place there, from 1.
    pub seq: Seq,
    /// Who said it.
    pub sender: UserId,
    /// On which device.
    pub device: DeviceId,
    /// As the how-manieth of that device in this conversation, from 1.
    pub order: Order,
    /// The client's own id of it.
    pub message_id: MessageId,
    /// When it was accepted; never earlier than the message before.
    pub at: Timestamp,
    /// What was said.
    pub body: Body,
    /// The conversation's hash chain after this message.
    pub chain: Chain,
    /// Of a deleted message: the digest of what it said, which is gone.
    pub erased: Option<Digest>,
}

impl Message {
    /// The digest of what was said, whether it is still here or not.
    pub fn digest(&self) -> Digest {
        self.erased.unwrap_or_else(|| self.body.digest())
    }

    /// Its name for ever.
    pub fn canonical_id(&self) -> CanonicalId {
        CanonicalId { conversation: self.conversation, seq: self.seq }
    }
}
