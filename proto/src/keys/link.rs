//! `user, conversation -> link`: a conversation in the user's list.

use std::ops::Range;

use bytes::Bytes;
use chat::{ConversationId, UserId};

use super::parts::{Key, LINK, Parts};
use crate::DecodeError;

/// The key of a link.
pub fn link(user: &UserId, conversation: ConversationId) -> Bytes {
    Key::user(user).byte(LINK).bytes(conversation.as_bytes()).finish()
}

/// All links of a user, by conversation.
pub fn link_range(user: &UserId) -> Range<Bytes> {
    Key::user(user).byte(LINK).prefix_range()
}

/// The link under this key.
///
/// # Errors
/// When it is no key of a link.
pub fn decode_link(key: &[u8]) -> Result<(UserId, ConversationId), DecodeError> {
    let mut parts = Parts::of(key, "key.link");
    let user = parts.user()?;
    parts.expect(LINK)?;
    let conversation = parts.conversation_id()?;
    parts.end((user, conversation))
}
