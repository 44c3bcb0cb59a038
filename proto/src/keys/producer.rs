//! `conversation, device -> producer`: how many messages the device has sent there.

use std::ops::Range;

use bytes::Bytes;
use chat::{ConversationId, DeviceId};

use super::parts::{Key, PRODUCER, Parts, STATE};
use crate::DecodeError;

/// The key of a device's producer.
pub fn producer(conversation: ConversationId, device: DeviceId) -> Bytes {
    Key::conversation(STATE, conversation).byte(PRODUCER).u64(device.0).finish()
}

/// All producers of a conversation, by device.
pub fn producer_range(conversation: ConversationId) -> Range<Bytes> {
    Key::conversation(STATE, conversation).byte(PRODUCER).prefix_range()
}

/// The producer under this key.
///
/// # Errors
/// When it is no key of a producer.
pub fn decode_producer(key: &[u8]) -> Result<(ConversationId, DeviceId), DecodeError> {
    let mut parts = Parts::of(key, "key.producer");
    let conversation = parts.conversation(STATE)?;
    parts.expect(PRODUCER)?;
    let device = parts.device()?;
    parts.end((conversation, device))
}
