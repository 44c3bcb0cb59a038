//! `conversation -> head`: what every message of the conversation touches.

use bytes::Bytes;
use chat::ConversationId;

use super::parts::{HEAD, Key, Parts, STATE};
use crate::DecodeError;

/// The key of a conversation's head.
pub fn head(conversation: ConversationId) -> Bytes {
    Key::conversation(STATE, conversation).byte(HEAD).finish()
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
