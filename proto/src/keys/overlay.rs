//! `conversation, seq -> what lies over the message`, in the order of the sequence.

use std::ops::Range;

use bytes::Bytes;
use chat::{ConversationId, Seq};

use super::parts::{CHANGES, Key, OVERLAY, Parts};
use crate::DecodeError;

/// The key of what lies over a message.
pub fn overlay(conversation: ConversationId, seq: Seq) -> Bytes {
    Key::conversation(CHANGES, conversation).byte(OVERLAY).u64(seq.0).finish()
}

/// What lies over the messages `from..to` of a conversation, `to` exclusive.
pub fn overlay_range(conversation: ConversationId, from: Seq, to: Seq) -> Range<Bytes> {
    overlay(conversation, from)..overlay(conversation, to)
}

/// The message over which the row under this key lies.
///
/// # Errors
/// When it is no such key.
pub fn decode_overlay(key: &[u8]) -> Result<(ConversationId, Seq), DecodeError> {
    let mut parts = Parts::of(key, "key.overlay");
    let conversation = parts.conversation(CHANGES)?;
    parts.expect(OVERLAY)?;
    let seq = Seq(parts.u64()?);
    parts.end((conversation, seq))
}
