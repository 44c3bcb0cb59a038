//! `conversation, number -> change`, in the order of the numbers.

use std::ops::Range;

use bytes::Bytes;
use chat::{ChangeNumber, ConversationId};

use super::parts::{CHANGE, CHANGES, Key, Parts};
use crate::DecodeError;

/// The key of a change.
pub fn change(conversation: ConversationId, number: ChangeNumber) -> Bytes {
    Key::conversation(CHANGES, conversation).byte(CHANGE).u64(number.0).finish()
}

/// The changes `from..to` of a conversation, `to` exclusive.
pub fn change_range(
    conversation: ConversationId,
    from: ChangeNumber,
    to: ChangeNumber,
) -> Range<Bytes> {
    change(conversation, from)..change(conversation, to)
}

/// The change under this key.
///
/// # Errors
/// When it is no key of a change.
pub fn decode_change(key: &[u8]) -> Result<(ConversationId, ChangeNumber), DecodeError> {
    let mut parts = Parts::of(key, "key.change");
    let conversation = parts.conversation(CHANGES)?;
    parts.expect(CHANGE)?;
    let number = ChangeNumber(parts.u64()?);
    parts.end((conversation, number))
}
