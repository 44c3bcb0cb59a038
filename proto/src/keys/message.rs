//! `conversation, seq -> message`, in the order of the sequence.

use std::ops::Range;

use bytes::Bytes;
use chat::{ConversationId, Seq};

use super::parts::{Key, MESSAGE, Parts};
use crate::DecodeError;

/// The key of a message.
pub fn message(conversation: ConversationId, seq: Seq) -> Bytes {
    Key::conversation(MESSAGE, conversation).u64(seq.0).finish()
}

/// The messages `from..to` of a conversation, `to` exclusive.
pub fn message_range(conversation: ConversationId, from: Seq, to: Seq) -> Range<Bytes> {
    message(conversation, from)..message(conversation, to)
}

/// All messages of a conversation.
pub fn messages_all(conversation: ConversationId) -> Range<Bytes> {
    Key::conversation(MESSAGE, conversation).prefix_range()
}

/// The message under this key.
///
/// # Errors
/// When it is no key of a message.
pub fn decode_message(key: &[u8]) -> Result<(ConversationId, Seq), DecodeError> {
    let mut parts = Parts::of(key, "key.message");
    let conversation = parts.conversation(MESSAGE)?;
    let seq = Seq(parts.u64()?);
    parts.end((conversation, seq))
}
