//! What can go wrong with durable bytes: one small closed set, shared by the journal and the
//! tables.
//!
//! Law: a failed write or barrier is never tried again, corruption is never repaired by forgetting.
//! The messages are for an operator at night and therefore say what to do. Nothing here decides
//! whether the process stops: that is for the room above, which asks [`StoreError::is_fatal`].

use std::io;
use std::path::Path;

/// Every failure of this room. Cheap to clone, because one failed barrier fails many waiters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused an operation on a file.
    #[error("cannot {action} `{file}`: {message}")]
    Io {
        /// What was tried, as a verb: "write", "sync", "open".
        action: &'static str,
        /// File or folder.
        file: String,
        /// Class of the failure.
        kind: io::ErrorKind,
        /// The operating system's own words.
        message: String,
    },
    /// Bytes that had been acknowledged as durable are damaged or missing.
    #[error(
        "`{file}` is damaged at byte {offset}: {what}. Do not edit or delete the file: keep a copy of the folder, \
         wipe it and let the node join again under a fresh id, so that it fetches its data from its peers"
    )]
    Corrupt {
        /// File in which the damage was found.
        file: String,
        /// Offset of the damage, in bytes from the start of the file.
        offset: u64,
        /// What was expected and what was found.
        what: String,
    },
    /// Another process (or another handle in this one) uses the folder.
    #[error(
        "`{path}` is in use by another process: stop it first, two writers would destroy the folder"
    )]
    Locked {
        /// The lock file.
        path: String,
    },
    /// No room on the disk for new entries. Votes, truncations and purges are still accepted by the
    /// journal.
    #[error(
        "the disk of `{path}` is full: free space or add a disk; nothing that was acknowledged is lost"
    )]
    Full {
        /// Folder or file that could not grow.
        path: String,
    },
    /// A sealed value or record cannot be opened with the keys at hand.
    #[error("`{what}` cannot be opened with the keys at hand: restore the node's key file")]
    WrongKey {
        /// What could not be opened.
        what: String,
    },
    /// The file was written by a version of this program that this one cannot read.
    #[error(
        "`{file}` has format version {found}, this program reads {expected}: start the matching release"
    )]
    WrongVersion {
        /// File whose header says so.
        file: String,
        /// Version in the header.
        found: u32,
        /// Version that this program reads.
        expected: u32,
    },
    /// The folder holds something else than what the configuration says: another table engine,
    /// values that are sealed or not, or files of somebody else.
    #[error("`{path}` cannot be used: {what}")]
    WrongFolder {
        /// The folder.
        path: String,
        /// What it holds, what was expected, what to do.
        what: String,
    },
    /// The folder belongs to another node or cluster.
    #[error(
        "`{file}` belongs to another node or cluster: check the data folder in the configuration"
    )]
    WrongIdentity {
        /// File whose header says so.
        file: String,
    },
    /// An earlier write or barrier failed in this process; nothing more is written or acknowledged
    /// until a restart.
    #[error("stopped after an earlier failure: {reason}. Restart the node once the cause is known")]
    Poisoned {
        /// The first failure, in words.
        reason: String,
    },
    /// A table engine failed in a way that is none of the above.
    #[error("table engine `{engine}` failed: {message}")]
    Engine {
        /// Name of the engine as in the configuration.
        engine: &'static str,
        /// The engine's own words.
        message: String,
    },
    /// The journal or table was closed.
    #[error("the store is closed")]
    Closed,
}

/// Whether the effect of a failed operation is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certainty {
    /// Nothing was written.
    Definite,
    /// The bytes may or may not be on the disk; a restart tells.
    Unknown,
}

/// Whether the same operation may be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Not in this process.
    Never,
    /// Later, once the operator or a purge has made room.
    Later,
}

impl StoreError {
    /// Wraps an error of the operating system about `file`, telling a full disk from other
    /// failures.
    #[must_use]
    pub fn io(file: impl AsRef<Path>, error: io::Error) -> Self {
        Self::while_doing("use", file, &error)
    }

    /// As [`StoreError::io`], with the `action` that failed, as a verb.
    #[must_use]
    pub fn while_doing(action: &'static str, file: impl AsRef<Path>, error: &io::Error) -> Self {
        let file = file.as_ref().display().to_string();
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path: file },
            kind => Self::Io { action, file, kind, message: error.to_string() },
        }
    }

    /// Damage in `file` at `offset`.
    #[must_use]
    pub fn corrupt(file: impl AsRef<Path>, offset: u64, what: impl Into<String>) -> Self {
        Self::Corrupt { file: file.as_ref().display().to_string(), offset, what: what.into() }
    }

    /// `what` is sealed under a key that is not at hand.
    #[must_use]
    pub fn wrong_key(what: impl AsRef<Path>) -> Self {
        Self::WrongKey { what: what.as_ref().display().to_string() }
    }

    /// What later callers are told after this failure.
    #[must_use]
    pub fn as_poison(&self) -> Self {
        Self::Poisoned { reason: self.to_string() }
    }

    /// Whether the process has to stop with this reason. Only a full disk can be lived with.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        !matches!(self, Self::Full { .. } | Self::Closed)
    }

    /// Whether the operation that failed has surely left no trace.
    #[must_use]
    pub fn certainty(&self) -> Certainty {
        match self {
            Self::Io { .. } | Self::Poisoned { .. } | Self::Engine { .. } => Certainty::Unknown,
            _ => Certainty::Definite,
        }
    }

    /// Whether the same operation may be tried again in this process.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Full { .. } => Retry::Later,
            _ => Retry::Never,
        }
    }
}
