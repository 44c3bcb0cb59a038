//! `conversation, message id, device -> place`: by this a message that is sent again is recognised, without a window.

use std::ops::Range;

use bytes::Bytes;
use chat::{ConversationId, DeviceId, MessageId};

use super::parts::{Key, MESSAGE_REF, Parts};
use crate::DecodeError;

/// The key of the place of a device's message of this id.
pub fn message_ref(conversation: ConversationId, id: &MessageId, device: DeviceId) -> Bytes {
    Key::conversation(MESSAGE_REF, conversation).text(id.as_str()).u64(device.0).finish()
}

/// The places of one message id in a conversation, one for each device that used it.
pub fn message_ref_range(conversation: ConversationId, id: &MessageId) -> Range<Bytes> {
    Key::conversation(MESSAGE_REF, conversation).text(id.as_str()).prefix_range()
}

/// What the place under this key is the place of.
///
/// # Errors
/// When it is no key of a place.
pub fn decode_message_ref(
    key: &[u8],
) -> Result<(ConversationId, MessageId, DeviceId), DecodeError> {
    let mut parts = Parts::of(key, "key.message_ref");
    let conversation = parts.conversation(MESSAGE_REF)?;
    let id = parts.message_id()?;
    let device = parts.device()?;
    parts.end((conversation, id, device))
}
