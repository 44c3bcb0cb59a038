//! `user -> how they wish it to be`.

use bytes::Bytes;
use chat::UserId;

use super::parts::{Key, Parts, SETTINGS};
use crate::DecodeError;

/// The key of a user's settings.
pub fn settings(user: &UserId) -> Bytes {
    Key::user(user).byte(SETTINGS).finish()
}

/// The user whose settings lie under this key.
///
/// # Errors
/// When it is no key of settings.
pub fn decode_settings(key: &[u8]) -> Result<UserId, DecodeError> {
    let mut parts = Parts::of(key, "key.settings");
    let user = parts.user()?;
    parts.expect(SETTINGS)?;
    parts.end(user)
}
