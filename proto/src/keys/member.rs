//! `conversation, user -> member`.

use std::ops::Range;

use bytes::Bytes;
use chat::{ConversationId, UserId};

use super::parts::{Key, MEMBER, Parts, STATE};
use crate::DecodeError;

/// The key of a membership.
pub fn member(conversation: ConversationId, user: &UserId) -> Bytes {
    let key = Key::conversation(STATE, conversation).byte(MEMBER);
    key.bytes(user.as_str().as_bytes()).finish()
}

/// All memberships of a conversation, by user id.
pub fn member_range(conversation: ConversationId) -> Range<Bytes> {
    Key::conversation(STATE, conversation).byte(MEMBER).prefix_range()
}

/// The membership under this key.
///
/// # Errors
/// When it is no key of a membership.
pub fn decode_member(key: &[u8]) -> Result<(ConversationId, UserId), DecodeError> {
    let mut parts = Parts::of(key, "key.member");
    let conversation = parts.conversation(STATE)?;
    parts.expect(MEMBER)?;
    let user = std::str::from_utf8(parts.rest()).map_err(DecodeError::of("key.member"))?;
    Ok((conversation, UserId::parse(user).map_err(DecodeError::of("key.member"))?))
}
