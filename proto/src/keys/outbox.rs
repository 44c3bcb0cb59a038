//! `group, number -> outbox item`: what a shard still owes others, in the order in which it came to owe it.

use std::ops::Range;

use bytes::Bytes;
use cluster_config::GroupId;

use super::parts::{Key, OUTBOX, Parts};
use crate::DecodeError;

/// The key of an outbox item.
pub fn outbox(group: GroupId, number: u64) -> Bytes {
    Key::reserved(OUTBOX).u32(group.0).u64(number).finish()
}

/// All items of a group's outbox, oldest first.
pub fn outbox_range(group: GroupId) -> Range<Bytes> {
    Key::reserved(OUTBOX).u32(group.0).prefix_range()
}

/// Group and number of this key.
///
/// # Errors
/// When it is no key of an outbox item.
pub fn decode_outbox(key: &[u8]) -> Result<(GroupId, u64), DecodeError> {
    let mut parts = Parts::of(key, "key.outbox");
    parts.reserved(OUTBOX)?;
    let group = GroupId(parts.u32()?);
    let number = parts.u64()?;
    parts.end((group, number))
}
