//! What a chunk says before it is sealed: a kind, then its body.

use bytes::{BufMut as _, Bytes, BytesMut};
use chat::{AssetId, Digest};
use prost::Message as _;

use super::manifest::{CHUNK_BYTES_MAX, Name};
use super::v1;
use crate::DecodeError;

const ROWS: u8 = 1;
const ASSETS: u8 = 2;
const PIECE: u8 = 3;

/// The content of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// Rows in the order of their keys.
    Rows(Vec<(Bytes, Bytes)>),
    /// Assets in the order of the keys of their records.
    Assets(Vec<StoredAsset>),
    /// Bytes of an asset.
    Piece(Bytes),
}

/// An asset and where its bytes lie in the backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAsset {
    /// Which.
    pub asset: AssetId,
    /// How many bytes it has.
    pub size: u64,
    /// Of all its bytes.
    pub sha256: Digest,
    /// Chunks in the order of the bytes; `None` when nobody had them.
    pub pieces: Option<Vec<PieceRef>>,
}

/// A chunk of an asset's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PieceRef {
    /// Its name.
    pub name: Name,
    /// Bytes of its file.
    pub bytes: u64,
}

/// The bytes of a chunk, not yet sealed.
#[must_use]
pub fn encode_chunk(chunk: &Chunk) -> Bytes {
    match chunk {
        Chunk::Rows(rows) => {
            let row =
                |(key, value): &(Bytes, Bytes)| v1::Row { key: key.clone(), value: value.clone() };
            framed(ROWS, &v1::Rows { rows: rows.iter().map(row).collect() }.encode_to_vec())
        }
        Chunk::Assets(assets) => {
            let assets = assets.iter().map(asset_to_wire).collect();
            framed(ASSETS, &v1::Assets { assets }.encode_to_vec())
        }
        Chunk::Piece(bytes) => framed(PIECE, bytes),
    }
}

fn framed(kind: u8, body: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(1 + body.len());
    out.put_u8(kind);
    out.put_slice(body);
    out.freeze()
}

/// The chunk that these bytes mean.
///
/// # Errors
/// [`DecodeError`] when they are none.
pub fn decode_chunk(bytes: Bytes) -> Result<Chunk, DecodeError> {
    if bytes.len() as u64 > CHUNK_BYTES_MAX {
        return Err(DecodeError::new("chunk", "too long"));
    }
    let Some(kind) = bytes.first().copied() else { return Err(DecodeError::missing("chunk.kind")) };
    let body = bytes.slice(1..);
    match kind {
        ROWS => {
            let rows = v1::Rows::decode(body).map_err(DecodeError::of("chunk.rows"))?.rows;
            let rows: Vec<_> = rows.into_iter().map(|row| (row.key, row.value)).collect();
            let ascending = rows.windows(2).all(|pair| pair[0].0 < pair[1].0);
            if ascending {
                Ok(Chunk::Rows(rows))
            } else {
                Err(DecodeError::new("chunk.rows", "not in order"))
            }
        }
        ASSETS => {
            let assets = v1::Assets::decode(body).map_err(DecodeError::of("chunk.assets"))?.assets;
            Ok(Chunk::Assets(assets.iter().map(asset_from_wire).collect::<Result<_, _>>()?))
        }
        PIECE => Ok(Chunk::Piece(body)),
        kind => Err(DecodeError::new("chunk.kind", format!("{kind} is not known"))),
    }
}

fn asset_to_wire(stored: &StoredAsset) -> v1::Asset {
    // An asset without bytes has one empty piece, so that none means that nobody had them.
    let piece = |piece: &PieceRef| v1::Piece {
        name: Bytes::copy_from_slice(&piece.name.0),
        bytes: piece.bytes,
    };
    v1::Asset {
        asset: Bytes::copy_from_slice(stored.asset.as_bytes()),
        size: stored.size,
        sha256: Bytes::copy_from_slice(&stored.sha256.0),
        pieces: stored.pieces.iter().flatten().map(piece).collect(),
    }
}

fn asset_from_wire(asset: &v1::Asset) -> Result<StoredAsset, DecodeError> {
    let wrong = |field| move |_| DecodeError::new(field, "wrong length");
    let piece = |piece: &v1::Piece| {
        let name = piece.name[..].try_into().map_err(wrong("chunk.assets.piece"))?;
        Ok::<_, DecodeError>(PieceRef { name: Name(name), bytes: piece.bytes })
    };
    let pieces = asset.pieces.iter().map(piece).collect::<Result<Vec<_>, _>>()?;
    Ok(StoredAsset {
        asset: AssetId::from_bytes(&asset.asset)
            .map_err(|_| DecodeError::new("chunk.assets.asset", "no asset id"))?,
        size: asset.size,
        sha256: Digest(asset.sha256[..].try_into().map_err(wrong("chunk.assets.sha256"))?),
        pieces: (!pieces.is_empty()).then_some(pieces),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rows_out_of_order_are_no_chunk() {
        let row = |key: u8| (Bytes::from(vec![key]), Bytes::from_static(b"v"));
        for rows in [vec![row(2), row(1)], vec![row(1), row(1)]] {
            assert!(decode_chunk(encode_chunk(&Chunk::Rows(rows))).is_err());
        }
    }

    proptest! {
        #[test]
        fn a_chunk_survives_its_bytes(
            rows in proptest::collection::btree_map(
                proptest::collection::vec(any::<u8>(), 1..9),
                proptest::collection::vec(any::<u8>(), 0..9),
                0..9,
            ),
            ids in proptest::collection::vec(any::<[u8; 16]>(), 0..4),
            pieces in proptest::collection::vec((any::<[u8; 32]>(), any::<u64>()), 0..4),
        ) {
            let rows = rows.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
            let pieces: Vec<_> =
                pieces.into_iter().map(|(name, bytes)| PieceRef { name: Name(name), bytes }).collect();
            let pieces = (!pieces.is_empty()).then_some(pieces);
            let assets = ids.into_iter().map(|id| StoredAsset {
                asset: AssetId::new(id),
                size: 7,
                sha256: Digest([3; 32]),
                pieces: pieces.clone(),
            });
            for chunk in [
                Chunk::Rows(rows),
                Chunk::Assets(assets.collect()),
                Chunk::Piece(Bytes::from_static(b"bytes")),
            ] {
                prop_assert_eq!(decode_chunk(encode_chunk(&chunk)), Ok(chunk));
            }
        }

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode_chunk(bytes.into());
        }
    }
}
