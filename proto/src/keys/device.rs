//! `user, device -> device`: the device's name and session.

use std::ops::Range;

use bytes::Bytes;
use chat::{DeviceId, UserId};

use super::parts::{DEVICE, Key, Parts};
use crate::DecodeError;

/// The key of a device.
pub fn device(user: &UserId, device: DeviceId) -> Bytes {
    Key::user(user).byte(DEVICE).u64(device.0).finish()
}

/// All devices of a user, by id.
pub fn device_range(user: &UserId) -> Range<Bytes> {
    Key::user(user).byte(DEVICE).prefix_range()
}

/// The device under this key.
///
/// # Errors
/// When it is no key of a device.
pub fn decode_device(key: &[u8]) -> Result<(UserId, DeviceId), DecodeError> {
    let mut parts = Parts::of(key, "key.device");
    let user = parts.user()?;
    parts.expect(DEVICE)?;
    let device = parts.device()?;
    parts.end((user, device))
}
