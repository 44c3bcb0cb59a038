//! What a backup is on disk: a [`Manifest`] in JSON that an operator can read, and chunks of rows, of assets and of raw
//! bytes. A chunk is named by what it says, so two backups share what did not change between them; how it is named and
//! sealed is `store`'s.
//!
//! ```text
//! <folder>/<backup>/manifest.json    one backup; it exists when this file does
//! <folder>/<backup>/manifest.mark    what only a holder of the backup key writes under those bytes, hexadecimal
//! <folder>/chunks/<2 hex>/<name>     chunks of all backups, sealed
//! ```

mod chunk;
mod manifest;

pub use chunk::{Chunk, PieceRef, StoredAsset, decode_chunk, encode_chunk};
pub use manifest::{
    AssetPart, BackupId, BackupIdError, CHUNK_BYTES_MAX, ChunkRef, FORMAT_VERSION, GroupPart,
    MANIFEST_BYTES_MAX, Manifest, Name, SCHEMA, Totals, decode_manifest, encode_manifest,
};

#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    reason = "generated from the schema, which holds the comments; its layout is the generator's"
)]
mod v1 {
    include!(concat!(env!("OUT_DIR"), "/synod.backup.v1.rs"));
}
