//! Backups, which are read years after they were made.

use bytes::Bytes;
use chat::{AssetId, Digest};
use proto::backup::{
    AssetPart, Chunk, ChunkRef, FORMAT_VERSION, GroupPart, Manifest, Name, PieceRef, SCHEMA,
    StoredAsset, Totals, decode_chunk, decode_manifest, encode_chunk, encode_manifest,
};

use super::{Sample, sample};

pub(super) fn samples() -> Vec<Sample> {
    let row = |key: &'static [u8]| (Bytes::from_static(key), Bytes::from_static(b"value"));
    let asset = |byte, pieces| StoredAsset {
        asset: AssetId::new([byte; 16]),
        size: 300,
        sha256: Digest([9; 32]),
        pieces,
    };
    let pieces = vec![PieceRef { name: Name([4; 32]), bytes: 318 }];
    let assets = Chunk::Assets(vec![asset(1, Some(pieces)), asset(2, None)]);
    let chunk = |name, chunk: Chunk| {
        let read = |bytes: &[u8]| decode_chunk(Bytes::copy_from_slice(bytes));
        sample(name, chunk.clone(), encode_chunk(&chunk), read)
    };
    let manifest = manifest();
    vec![
        chunk("rows", Chunk::Rows(vec![row(b"a"), row(b"b")])),
        chunk("assets", assets),
        chunk("piece", Chunk::Piece(Bytes::from_static(b"bytes"))),
        sample("manifest", manifest.clone(), encode_manifest(&manifest), decode_manifest),
    ]
}

fn manifest() -> Manifest {
    let chunk = |byte| ChunkRef { name: Name([byte; 32]), bytes: 70, sha256: Name([byte + 1; 32]) };
    let part = |group, end_slot| GroupPart {
        group,
        first_slot: 0,
        end_slot,
        term: 3,
        index: 700,
        users_index: 702,
        rows: 12,
        chunks: vec![chunk(1)],
    };
    Manifest {
        schema: SCHEMA.into(),
        version: FORMAT_VERSION,
        id: "20261123T030000Z-n1".parse().expect("legal"),
        cluster: "demo".into(),
        history_epoch: 1,
        node: 2,
        begun_at_ms: 1_700_000_000_000,
        ended_at_ms: 1_700_000_001_000,
        key: "0123456789abcdef".into(),
        groups: vec![part(0, 0), part(1, 16384)],
        assets: AssetPart { count: 2, bytes: 600, missing: 1, chunks: vec![chunk(3)] },
        totals: Totals { chunks: 4, bytes: 388, new_chunks: 2, new_bytes: 140 },
    }
}
