//! Asset, storage of a user, asset that a user keeps.

use bytes::Bytes;
use chat::{Asset, Holder, Kept, Storage, Timestamp, UserId};
use prost::Message as _;

use crate::{DecodeError, read, rows};

/// The bytes of an asset's record.
pub fn encode_asset(asset: &Asset) -> Bytes {
    let row = rows::Asset {
        owner: asset.owner.as_str().to_owned(),
        size: asset.size,
        sha256: Bytes::copy_from_slice(&asset.sha256.0),
        media_type: asset.media_type.clone(),
        created_at_ms: asset.created_at.0,
        holders: asset.holders.iter().map(|holder| holder.0).collect(),
        grants: asset.grants.iter().map(|id| read::conversation_bytes(*id)).collect(),
    };
    row.encode_to_vec().into()
}

/// The record that these bytes mean.
///
/// # Errors
/// [`DecodeError`] with the field that is wrong.
pub fn decode_asset(bytes: &[u8]) -> Result<Asset, DecodeError> {
    let row = rows::Asset::decode(bytes).map_err(DecodeError::of("asset"))?;
    let grants = row.grants.iter().map(|id| read::conversation("asset.grants", id));
    Ok(Asset {
        owner: read::user("asset.owner", &row.owner)?,
        size: row.size,
        sha256: read::digest("asset.sha256", &row.sha256)?,
        created_at: Timestamp(row.created_at_ms),
        holders: row.holders.into_iter().map(Holder).collect(),
        grants: grants.collect::<Result<_, _>>()?,
        media_type: row.media_type,
    })
}

/// What was announced of an upload in steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Whose it is.
    pub owner: UserId,
    /// How many bytes it will have.
    pub size: u64,
    /// The declared type.
    pub media_type: String,
    /// When it began.
    pub created_at: Timestamp,
}

/// The bytes of an upload's announcement.
pub fn encode_upload(upload: &Upload) -> Bytes {
    let row = rows::Upload {
        owner: upload.owner.as_str().to_owned(),
        size: upload.size,
        media_type: upload.media_type.clone(),
        created_at_ms: upload.created_at.0,
    };
    row.encode_to_vec().into()
}

/// The announcement that these bytes mean.
///
/// # Errors
/// [`DecodeError`] with the field that is wrong.
pub fn decode_upload(bytes: &[u8]) -> Result<Upload, DecodeError> {
    let row = rows::Upload::decode(bytes).map_err(DecodeError::of("upload"))?;
    Ok(Upload {
        owner: read::user("upload.owner", &row.owner)?,
        size: row.size,
        media_type: row.media_type,
        created_at: Timestamp(row.created_at_ms),
    })
}

/// The bytes of what a user keeps in all.
pub fn encode_storage(storage: &Storage) -> Bytes {
    rows::Storage { bytes: storage.bytes, assets: storage.assets }.encode_to_vec().into()
}

/// What these bytes say that a user keeps.
///
/// # Errors
/// [`DecodeError`] when they say nothing of it.
pub fn decode_storage(bytes: &[u8]) -> Result<Storage, DecodeError> {
    let row = rows::Storage::decode(bytes).map_err(DecodeError::of("storage"))?;
    Ok(Storage { bytes: row.bytes, assets: row.assets })
}

/// The bytes of an asset that a user keeps.
pub fn encode_kept(kept: &Kept) -> Bytes {
    rows::Kept { bytes: kept.bytes, at_ms: kept.at.0 }.encode_to_vec().into()
}

/// What these bytes say of an asset that a user keeps.
///
/// # Errors
/// [`DecodeError`] when they say nothing of it.
pub fn decode_kept(bytes: &[u8]) -> Result<Kept, DecodeError> {
    let row = rows::Kept::decode(bytes).map_err(DecodeError::of("kept"))?;
    Ok(Kept { bytes: row.bytes, at: Timestamp(row.at_ms) })
}
