//! `conversation -> head`: what every message of the conversation touches.

use std::ops::Range;

use bytes::Bytes;
use chat::ConversationId;

use super::parts::{HEAD, Key, Parts, STATE};
use crate::DecodeError;

/// The key of a conversation's head.
pub fn head(conversation: ConversationId) -> Bytes {
    Key::conversation(STATE, conversation).byte(HEAD).finish()
}

/// The heads of a slot's conversations, with what lies between them: members, producers, cursors.
pub fn states_of_slot(slot: u16) -> Range<Bytes> {
    Key::slot(slot, STATE).prefix_range()
}

/// The conversation whose head lies under this key.
///
/// # Errors
/// When it is no key of a head.
pub fn decode_head(key: &[u8]) -> Result<ConversationId, DecodeError> {
    let mut parts = Parts::of(key, "key.head");
    let conversation = parts.conversation(STATE)?;
    parts.expect(HEAD)?;
    parts.end(conversation)
}
