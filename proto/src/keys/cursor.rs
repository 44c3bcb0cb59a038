//! `conversation, device -> cursor`: how far the device has got there.

use std::ops::Range;

use bytes::Bytes;
use chat::{ConversationId, DeviceId};

use super::parts::{CURSOR, Key, Parts, STATE};
use crate::DecodeError;

/// The key of a device's cursor.
pub fn cursor(conversation: ConversationId, device: DeviceId) -> Bytes {
    Key::conversation(STATE, conversation).byte(CURSOR).u64(device.0).finish()
}

/// All cursors of a conversation, by device.
pub fn cursor_range(conversation: ConversationId) -> Range<Bytes> {
    Key::conversation(STATE, conversation).byte(CURSOR).prefix_range()
}

/// The cursor under this key.
///
/// # Errors
/// When it is no key of a cursor.
pub fn decode_cursor(key: &[u8]) -> Result<(ConversationId, DeviceId), DecodeError> {
    let mut parts = Parts::of(key, "key.cursor");
    let conversation = parts.conversation(STATE)?;
    parts.expect(CURSOR)?;
    let device = parts.device()?;
    parts.end((conversation, device))
}
