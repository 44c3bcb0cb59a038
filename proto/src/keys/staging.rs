//! `group, key -> row`: a row of a snapshot on its way in, under its future key.

use std::ops::Range;

use bytes::Bytes;
use cluster_config::GroupId;

use super::parts::{Key, Parts, STAGING};
use crate::DecodeError;

/// The key of a staged row that will lie under `key`.
pub fn staging(group: GroupId, key: &[u8]) -> Bytes {
    Key::reserved(STAGING).u32(group.0).bytes(key).finish()
}

/// All staged rows of a group, in the order of their future keys.
pub fn staging_range(group: GroupId) -> Range<Bytes> {
    Key::reserved(STAGING).u32(group.0).prefix_range()
}

/// Group and future key of this staged row.
///
/// # Errors
/// When it is no key of a staged row.
pub fn decode_staging(key: &[u8]) -> Result<(GroupId, &[u8]), DecodeError> {
    let mut parts = Parts::of(key, "key.staging");
    parts.reserved(STAGING)?;
    let group = GroupId(parts.u32()?);
    Ok((group, parts.rest()))
}
