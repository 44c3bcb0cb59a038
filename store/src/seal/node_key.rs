//! The node key: 32 bytes in a file that the operator keeps apart from the data.
//!
//! It wraps data keys and nothing else, so changing it rewrites one small file.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::Entropy;
use crate::StoreError;

/// The bytes of a key for AES-256.
pub(super) const KEY_BYTES: usize = 32;

/// A key that wraps data keys. Its bytes appear in no log line.
#[derive(Clone)]
pub struct NodeKey {
    bytes: [u8; KEY_BYTES],
}

impl NodeKey {
    /// A key from bytes that the caller holds.
    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self { bytes }
    }

    /// Reads the key file: exactly 32 bytes.
    ///
    /// # Errors
    /// The file is absent or unreadable, or has another length.
    pub fn load(path: &Path) -> Result<Self, StoreError> {
        let file = File::open(path).map_err(|error| StoreError::io(path, error))?;
        warn_when_others_may_read(&file, path);
        // One byte more than a key, so that a longer file is noticed without reading all of it.
        let mut read = Vec::with_capacity(KEY_BYTES + 1);
        file.take(KEY_BYTES as u64 + 1)
            .read_to_end(&mut read)
            .map_err(|error| StoreError::io(path, error))?;
        let bytes = read
            .try_into()
            .map_err(|_| StoreError::corrupt(path, 0, "a node key file holds exactly 32 bytes"))?;
        Ok(Self { bytes })
    }

    /// Reads the key file, or on the first start draws a key and writes it, readable by its owner
    /// only and on stable storage before anything is sealed under it.
    ///
    /// # Errors
    /// As [`NodeKey::load`], or the file cannot be written.
    pub fn load_or_create(path: &Path, entropy: &dyn Entropy) -> Result<Self, StoreError> {
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Self::load(path),
            Err(error) => Err(StoreError::io(path, error)),
            Ok(mut file) => {
                let mut bytes = [0; KEY_BYTES];
                entropy.fill(&mut bytes);
                file.write_all(&bytes)
                    .and_then(|()| file.sync_all())
                    .and_then(|()| super::key_ring::sync_parent(path))
                    .map_err(|error| StoreError::io(path, error))?;
                Ok(Self { bytes })
            }
        }
    }

    pub(super) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.bytes
    }
}

impl std::fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NodeKey(..)")
    }
}

/// Orchestrators mount credentials with modes of their own, so a loose mode is told, not refused.
fn warn_when_others_may_read(file: &File, path: &Path) {
    if let Ok(found) = file.metadata()
        && found.permissions().mode() & 0o077 != 0
    {
        tracing::warn!(path = %path.display(), "the node key file is open to other users");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::SystemEntropy;

    #[test]
    fn the_first_start_creates_a_key_that_only_its_owner_reads_and_the_next_start_finds_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("node.key");
        let first = NodeKey::load_or_create(&path, &SystemEntropy).expect("created");
        let mode = std::fs::metadata(&path).expect("exists").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let second = NodeKey::load_or_create(&path, &SystemEntropy).expect("found");
        assert_eq!(first.bytes(), second.bytes());
        assert_ne!(first.bytes(), &[0; KEY_BYTES]);
    }

    #[test]
    fn a_key_of_another_length_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("node.key");
        for length in [0, 31, 33, 4096] {
            std::fs::write(&path, vec![7; length]).expect("written");
            assert!(NodeKey::load(&path).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn an_absent_key_is_an_error_that_names_the_file() {
        let error = NodeKey::load(Path::new("no/such/node.key")).expect_err("absent");
        assert!(error.to_string().contains("no/such/node.key"), "{error}");
    }

    #[test]
    fn debug_output_hides_the_bytes() {
        assert_eq!(format!("{:?}", NodeKey::from_bytes([9; 32])), "NodeKey(..)");
    }
}
