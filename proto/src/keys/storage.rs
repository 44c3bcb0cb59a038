//! `user -> what the user keeps` and `user, asset -> what counts for it`. In the slot of the user's name.

use std::ops::Range;

use bytes::Bytes;
use chat::{AssetId, UserId};

use super::parts::{ASSETS, KEEPING, KEPT, Key, Parts, TOTAL};
use crate::DecodeError;

fn of(user: &UserId) -> Key {
    Key::slot(user.slot(), ASSETS).byte(KEEPING).text(user.as_str())
}

/// The key of what a user keeps in all.
pub fn storage(user: &UserId) -> Bytes {
    of(user).byte(TOTAL).finish()
}

/// The key of one asset that a user keeps.
pub fn kept(user: &UserId, asset: AssetId) -> Bytes {
    of(user).byte(KEPT).bytes(asset.as_bytes()).finish()
}

/// What all users of one slot keep, totals and lines.
pub fn kept_of_slot(slot: u16) -> Range<Bytes> {
    Key::slot(slot, ASSETS).byte(KEEPING).prefix_range()
}

/// The user whose total lies under this key.
///
/// # Errors
/// When it is no key of a total.
pub fn decode_storage(key: &[u8]) -> Result<UserId, DecodeError> {
    let mut parts = Parts::of(key, "key.storage");
    let user = parts.keeper()?;
    parts.expect(TOTAL)?;
    parts.end(user)
}

/// User and asset under this key.
///
/// # Errors
/// When it is no key of an asset that a user keeps.
pub fn decode_kept(key: &[u8]) -> Result<(UserId, AssetId), DecodeError> {
    let mut parts = Parts::of(key, "key.kept");
    let user = parts.keeper()?;
    parts.expect(KEPT)?;
    let asset = AssetId::new(parts.array()?);
    parts.end((user, asset))
}
