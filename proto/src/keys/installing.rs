//! `group -> installing`: a group's staged snapshot is complete and rolls forward into the state.

use bytes::Bytes;
use cluster_config::GroupId;

use super::parts::{INSTALLING, Key, Parts};
use crate::DecodeError;

/// The key of this row of a Raft group.
pub fn installing(group: GroupId) -> Bytes {
    Key::reserved(INSTALLING).u32(group.0).finish()
}

/// The group of this key.
///
/// # Errors
/// When it is no such key.
pub fn decode_installing(key: &[u8]) -> Result<GroupId, DecodeError> {
    let mut parts = Parts::of(key, "key.installing");
    parts.reserved(INSTALLING)?;
    let group = GroupId(parts.u32()?);
    parts.end(group)
}
