//! `asset -> record`. In the slot of the asset's id.

use std::ops::Range;

use bytes::Bytes;
use chat::AssetId;

use super::parts::{ASSET, ASSETS, Key, Parts};
use crate::DecodeError;

/// The key of an asset.
pub fn asset(id: AssetId) -> Bytes {
    Key::slot(id.slot(), ASSETS).byte(ASSET).bytes(id.as_bytes()).finish()
}

/// All assets of one slot, by id.
pub fn assets_of_slot(slot: u16) -> Range<Bytes> {
    Key::slot(slot, ASSETS).byte(ASSET).prefix_range()
}

/// The asset under this key.
///
/// # Errors
/// When it is no key of an asset.
pub fn decode_asset(key: &[u8]) -> Result<AssetId, DecodeError> {
    let mut parts = Parts::of(key, "key.asset");
    let slot = parts.u16()?;
    parts.expect(ASSETS)?;
    parts.expect(ASSET)?;
    let id = AssetId::new(parts.array()?);
    if id.slot() != slot {
        return Err(parts.error("the slot is not the asset's"));
    }
    parts.end(id)
}
