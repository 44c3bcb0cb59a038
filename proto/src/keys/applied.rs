//! `group -> applied`: how far a group's log is in the tables.

use std::ops::Range;

use bytes::Bytes;
use cluster_config::GroupId;

use super::parts::{APPLIED, Key, Parts};
use crate::DecodeError;

/// The key of this row of a Raft group.
pub fn applied(group: GroupId) -> Bytes {
    Key::reserved(APPLIED).u32(group.0).finish()
}

/// The keys of this row of all groups.
pub fn applied_range() -> Range<Bytes> {
    Key::reserved(APPLIED).prefix_range()
}

/// The group of this key.
///
/// # Errors
/// When it is no such key.
pub fn decode_applied(key: &[u8]) -> Result<GroupId, DecodeError> {
    let mut parts = Parts::of(key, "key.applied");
    parts.reserved(APPLIED)?;
    let group = GroupId(parts.u32()?);
    parts.end(group)
}
