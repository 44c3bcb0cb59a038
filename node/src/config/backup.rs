//! Backups: where to, how often, how many.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::require;
use crate::objects;

/// Backups of the whole cluster. The node that leads group 0 makes them by itself; any node can be asked.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Backup {
    /// Where they go; by default `backups` in the data folder, which survives mistakes and not the loss of that disk.
    pub folder: Option<PathBuf>,
    /// An object store that is given a copy of the folder after each backup, such as `s3://bucket/folder`; see
    /// `object_store`. Each node's copy is in a folder of its own there, `CLUSTER/backups/nNODE`.
    pub copy_to: Option<String>,
    /// The file with the 32-byte backup key, made at the first backup; by default `backup.key` in the data folder. Keep a
    /// copy elsewhere: without it no backup can be read.
    pub key: Option<PathBuf>,
    /// The time from one to the next, seconds; 0: none but those that are asked for.
    pub every_seconds: u64,
    /// How many are kept in the folder.
    pub keep: usize,
    /// How much is read at most in a second.
    pub bytes_per_second: u64,
}

impl Default for Backup {
    fn default() -> Self {
        Self {
            folder: None,
            copy_to: None,
            key: None,
            every_seconds: 24 * 60 * 60,
            keep: 7,
            bytes_per_second: 32 << 20,
        }
    }
}

impl Backup {
    /// The folder, for a node whose data is in `data`.
    #[must_use]
    pub fn folder(&self, data: &Path) -> PathBuf {
        self.folder.clone().unwrap_or_else(|| data.join("backups"))
    }

    /// The key's file, for a node whose data is in `data`.
    #[must_use]
    pub fn key(&self, data: &Path) -> PathBuf {
        self.key.clone().unwrap_or_else(|| data.join("backup.key"))
    }

    pub(super) fn files(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.folder.iter_mut().chain(&mut self.key)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if let Some(url) = &self.copy_to {
            objects::check(url).map_err(|problem| format!("backup.copy_to: {problem}"))?;
        }
        require(self.keep > 0, "backup.keep: at least 1")?;
        require(self.bytes_per_second > 0, "backup.bytes_per_second: at least 1")
    }
}
