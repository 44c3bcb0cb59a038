//! Backups of the whole cluster: made by one node while it serves, kept in a folder that many of them share, checked and
//! restored without a cluster.
//!
//! A backup is a manifest and chunks (`proto::backup` says how they are written). Chunks are sealed under a backup key that
//! is independent of all node keys, and named by what they say, so that a later backup writes only what changed. What is in
//! it are the rows that a snapshot streams; in which order they are read, and why a restore of them is sound although
//! nobody was stopped, is in [`take`].
//!
//! A restore begins a **new** cluster with the state of the old: a name of its own, so that no old node takes part; nodes of
//! its own, as many as its founders are; a history epoch of its own. Every founder that restores the same backup prepares
//! the same state.

mod check;
mod cut;
mod error;
mod mirror;
mod previous;
mod rebuild;
mod restore;
mod scrub;
mod service;
mod take;
mod time;
mod vault;

use std::path::PathBuf;

use proto::backup::Manifest;
use serde_json::{Value, json};

pub use check::Found;
pub use error::Error;
pub use mirror::{Copied, fetch};
pub use proto::backup::BackupId;
pub use restore::{Restored, Source, Verified, restore, verify};
pub use time::{parse as parse_time, rfc3339};
pub use vault::{Listed, list};

pub(crate) use scrub::{scrub, scrub_journal};
pub(crate) use service::{Backups, Ports};
pub(crate) use take::{Pace, blocking};

/// Where the key lies that a node made for a folder, unless its file says otherwise: beside it.
#[must_use]
pub fn key_beside(folder: &std::path::Path) -> PathBuf {
    folder.parent().unwrap_or(std::path::Path::new(".")).join("backup.key")
}

/// A backup as operators see it.
#[must_use]
pub fn to_json(listed: &Listed) -> Value {
    match &listed.manifest {
        Ok(manifest) => manifest_to_json(manifest),
        Err(error) => json!({ "id": listed.id, "error": error.to_string() }),
    }
}

fn manifest_to_json(manifest: &Manifest) -> Value {
    let rows: u64 = manifest.groups.iter().map(|part| part.rows).sum();
    let indexes: Vec<_> = manifest
        .groups
        .iter()
        .map(|part| json!({ "group": part.group, "term": part.term, "index": part.index }))
        .collect();
    json!({
        "id": manifest.id,
        "cluster": manifest.cluster,
        "history_epoch": manifest.history_epoch,
        "node": manifest.node,
        "begun_at": rfc3339(manifest.begun_at_ms),
        "seconds": manifest.ended_at_ms.saturating_sub(manifest.begun_at_ms) as f64 / 1000.0,
        "key": manifest.key,
        "groups": indexes,
        "rows": rows,
        "assets": manifest.assets.count,
        "assets_missing": manifest.assets.missing,
        "bytes": manifest.totals.bytes,
        "chunks": manifest.totals.chunks,
        "new_bytes": manifest.totals.new_bytes,
        "new_chunks": manifest.totals.new_chunks,
    })
}

#[cfg(test)]
mod tests;
