//! `conversation -> messages are not kept for ever`, apart from the conversation's state, so that the few such
//! conversations of a slot are found by one short scan.

use std::ops::Range;

use bytes::Bytes;
use chat::ConversationId;

use super::parts::{Key, Parts, RETAINED};
use crate::DecodeError;

/// The key.
pub fn retained(conversation: ConversationId) -> Bytes {
    Key::conversation(RETAINED, conversation).finish()
}

/// All of a slot.
pub fn retained_range(slot: u16) -> Range<Bytes> {
    Key::slot(slot, RETAINED).prefix_range()
}

/// The conversation under this key.
///
/// # Errors
/// When it is no such key.
pub fn decode_retained(key: &[u8]) -> Result<ConversationId, DecodeError> {
    let mut parts = Parts::of(key, "key.retained");
    let id = parts.conversation(RETAINED)?;
    parts.end(id)
}
