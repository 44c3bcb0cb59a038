//! What can go wrong with backups, with what to do about it.

use std::path::{Path, PathBuf};

use proto::DecodeError;
use raft::{Fatal, GroupId};
use store::StoreError;

/// Why a backup was not made, read or restored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This node does not carry everything.
    #[error("this node does not carry group {0}: ask a node that carries all")]
    NotHere(GroupId),
    /// A group cannot say what it has acknowledged.
    #[error("{0}; nothing was written over, try again when the cluster serves")]
    Unavailable(String),
    /// One backup at a time.
    #[error("a backup is being made in this folder already: wait for it")]
    Busy,
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// No room for more.
    #[error(
        "the disk of {} has neither a tenth nor 2 GiB free: free space, keep fewer backups (backup.keep) or name \
         another folder (backup.folder)", path.display()
    )]
    NoRoom {
        /// The backup folder.
        path: PathBuf,
    },
    /// There is no such backup.
    #[error("{} holds no backup {wanted}: see `synod backup ls --folder`", folder.display())]
    NoBackup {
        /// The backup folder.
        folder: PathBuf,
        /// What was asked for.
        wanted: String,
    },
    /// The key is not the one.
    #[error(
        "backup {backup} was made with backup key {wanted}, and this is key {found}: name its file with --key"
    )]
    WrongKey {
        /// Which backup.
        backup: String,
        /// The key it was made with, by its id.
        wanted: String,
        /// The key at hand, by its id.
        found: String,
    },
    /// Written by another release.
    #[error("{what}: use the release that wrote it")]
    Version {
        /// What it is and what would be read.
        what: String,
    },
    /// Bytes are not what was written.
    #[error("{what}: restore an older backup, or take this file from another copy of the folder")]
    Damaged {
        /// Which file and what is wrong with it.
        what: String,
    },
    /// What a restore would write over.
    #[error("{} is not empty: a restore prepares a new node and writes over nothing", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// The new cluster cannot be.
    #[error("{0}")]
    Refused(String),
    /// The backup is in its folder, and not in the store.
    #[error(
        "it is in its folder, and its copy in the object store failed (the next backup copies both): {0}"
    )]
    NotCopied(Box<Error>),
    /// A data folder failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something broke that nobody handles.
    #[error(transparent)]
    Fatal(#[from] Fatal),
}

impl Error {
    pub(super) fn io(path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io { path, source }
    }

    pub(super) fn damaged(file: impl AsRef<Path>, what: impl std::fmt::Display) -> Self {
        Self::Damaged { what: format!("{} is damaged: {what}", file.as_ref().display()) }
    }

    /// Of a manifest: another version is no damage.
    pub(super) fn of_manifest(file: &Path) -> impl FnOnce(DecodeError) -> Self {
        move |error| match error.field {
            "manifest.version" => {
                Self::Version { what: format!("{}: {}", file.display(), error.reason) }
            }
            _ => Self::damaged(file, error),
        }
    }
}
