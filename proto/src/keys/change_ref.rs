//! `conversation, change id, device -> place`: by this a change that is asked for again is recognised, without a window.

use bytes::Bytes;
use chat::{ConversationId, DeviceId, MessageId};

use super::parts::{CHANGE_REF, CHANGES, Key, Parts};
use crate::DecodeError;

/// The key of the place of a device's change of this id.
pub fn change_ref(conversation: ConversationId, id: &MessageId, device: DeviceId) -> Bytes {
    let key = Key::conversation(CHANGES, conversation).byte(CHANGE_REF);
    key.text(id.as_str()).u64(device.0).finish()
}

/// What the place under this key is the place of.
///
/// # Errors
/// When it is no key of such a place.
pub fn decode_change_ref(key: &[u8]) -> Result<(ConversationId, MessageId, DeviceId), DecodeError> {
    let mut parts = Parts::of(key, "key.change_ref");
    let conversation = parts.conversation(CHANGES)?;
    parts.expect(CHANGE_REF)?;
    let id = parts.message_id()?;
    let device = parts.device()?;
    parts.end((conversation, id, device))
}
