//! `user -> account`. In the slot of the user's name, which is the slot of a group of that name.

use std::ops::Range;

use bytes::Bytes;
use chat::UserId;

use super::parts::{ACCOUNT, Key, Parts};
use crate::DecodeError;

/// The key of an account.
pub fn user(user: &UserId) -> Bytes {
    Key::user(user).byte(ACCOUNT).finish()
}

/// All rows of one user: account, devices, links.
pub fn user_range(user: &UserId) -> Range<Bytes> {
    Key::user(user).prefix_range()
}

/// The user whose account lies under this key.
///
/// # Errors
/// When it is no key of an account.
pub fn decode_user(key: &[u8]) -> Result<UserId, DecodeError> {
    let mut parts = Parts::of(key, "key.user");
    let user = parts.user()?;
    parts.expect(ACCOUNT)?;
    parts.end(user)
}
