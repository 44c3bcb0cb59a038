//! Verbs of backups.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Operations;

#[derive(Debug, Subcommand)]
pub(crate) enum Backup {
    /// Have a node make a backup now, and wait for it
    Now(BackupNow),
    /// List the backups that a node, or a folder, has
    Ls(BackupLs),
    /// Bring the copy of a node's backups from an object store into a folder
    Fetch(BackupFetch),
    /// Rebuild a backup in a scratch folder and check every row (exit 12 when something is wrong)
    Verify(BackupVerify),
}

#[derive(Debug, Args)]
pub(crate) struct BackupNow {
    #[command(flatten)]
    pub(crate) at: Operations,
    /// Do not wait until it is done
    #[arg(long)]
    pub(crate) no_wait: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BackupLs {
    #[command(flatten)]
    pub(crate) at: Operations,
    /// Read this folder instead of asking nodes; needs no key
    #[arg(long, value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct BackupFetch {
    /// Where the copy is, such as s3://bucket/folder/CLUSTER/backups/n1
    #[arg(value_name = "URL")]
    pub(crate) from: String,
    /// A folder that is empty or not there
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// A node's file: `object_store` in it says how the store is reached
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// One JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BackupVerify {
    /// The folder of backups
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    #[command(flatten)]
    pub(crate) which: WhichBackup,
    /// Where the backup is rebuilt for a while; by default the system's folder for such things
    #[arg(long, value_name = "DIR")]
    pub(crate) scratch: Option<PathBuf>,
    /// One JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which backup of a folder.
#[derive(Debug, Args)]
pub(crate) struct WhichBackup {
    /// Its name; by default the newest
    #[arg(long, value_name = "ID")]
    pub(crate) backup: Option<String>,
    /// The newest that was begun at or before this time, such as 2026-11-23T04:00:00Z
    #[arg(long, value_name = "TIME", conflicts_with = "backup")]
    pub(crate) to: Option<String>,
    /// The backup key; by default `backup.key` beside the folder
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The folder of backups
    #[arg(long, value_name = "DIR")]
    pub(crate) from: PathBuf,
    #[command(flatten)]
    pub(crate) which: WhichBackup,
    /// The file of the node whose data folder is prepared; it names the new cluster's founders
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// The new cluster's name; must be the one in the file
    #[arg(long, value_name = "NAME")]
    pub(crate) cluster: Option<String>,
    /// One JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
