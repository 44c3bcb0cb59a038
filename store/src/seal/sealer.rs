//! The sealer: seals under the newest data key, opens under any key of the ring.

use std::fmt;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use parking_lot::RwLock;
use ring::aead::{Aad, Nonce};

use super::key_ring::{self, DataKey, KEYS_MAX};
use super::nonce::{NONCE_BYTES, Nonces};
use super::{Entropy, NodeKey};
use crate::StoreError;
use crate::journal::RecordSeal;

/// The layout of a sealed value: this byte, u32 key id, nonce, ciphertext, tag.
const FORMAT: u8 = 1;
const ID_BYTES: usize = 4;
const TAG_BYTES: usize = 16;
const HEADER_BYTES: usize = 1 + ID_BYTES + NONCE_BYTES;

/// How many bytes longer a sealed value is than what it hides.
pub const SEALED_BYTES_MORE: usize = HEADER_BYTES + TAG_BYTES;

/// Names a data key in the ring and in every value it sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId(pub u32);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// Why a value does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It is no sealed value of a known format.
    #[error("this is not a sealed value (shorter than its header, or of another format)")]
    NotSealed,
    /// It was sealed under a key that the ring does not hold.
    #[error("sealed under data key {0}, which this node's key ring does not hold")]
    UnknownKey(KeyId),
    /// The bytes or the name they are stored under are not what was sealed.
    #[error("a sealed value does not belong to its name, or was altered")]
    Altered,
}

/// Seals and opens values. One for a node, shared by tables and journal.
pub struct Sealer {
    path: PathBuf,
    node_key: RwLock<NodeKey>,
    /// Never empty; the newest key is last.
    keys: RwLock<Vec<DataKey>>,
    nonces: Nonces,
    entropy: Box<dyn Entropy>,
}

impl Sealer {
    /// Opens the key ring file at `path`, or makes one with a first key when there is none.
    ///
    /// # Errors
    /// The file is damaged ([`StoreError::Corrupt`]), was wrapped by another node key
    /// ([`StoreError::WrongKey`]), or cannot be read or written.
    pub fn open(
        path: &Path,
        node_key: NodeKey,
        entropy: Box<dyn Entropy>,
    ) -> Result<Self, StoreError> {
        let keys = match key_ring::read(path, &node_key)? {
            Some(keys) => keys,
            None => {
                let keys = vec![DataKey::draw(&*entropy, &[])];
                key_ring::write(path, &keys, &node_key, &*entropy)?;
                keys
            }
        };
        Ok(Self {
            path: path.to_owned(),
            node_key: RwLock::new(node_key),
            keys: RwLock::new(keys),
            nonces: Nonces::new(&*entropy),
            entropy,
        })
    }

    /// Adds a data key and seals with it from now on. The ring is on stable storage before the key
    /// seals anything. Values under older keys still open and are sealed anew when next written.
    ///
    /// # Errors
    /// The ring cannot be written, or already holds as many keys as it may.
    pub fn rotate(&self) -> Result<KeyId, StoreError> {
        let node_key = self.node_key.read();
        let mut keys = self.keys.write();
        if keys.len() >= KEYS_MAX {
            return Err(StoreError::corrupt(&self.path, 0, "the key ring is full"));
        }
        let key = DataKey::draw(&*self.entropy, &keys);
        let id = key.id;
        keys.push(key);
        if let Err(error) = key_ring::write(&self.path, &keys, &node_key, &*self.entropy) {
            // The file may hold either ring; a key that sealed nothing is harmless in it.
            keys.pop();
            return Err(error);
        }
        Ok(id)
    }

    /// Wraps all data keys under another node key. Nothing else is rewritten.
    ///
    /// # Errors
    /// The ring cannot be written; the old node key then stays in use.
    pub fn change_node_key(&self, node_key: NodeKey) -> Result<(), StoreError> {
        let mut held = self.node_key.write();
        key_ring::write(&self.path, &self.keys.read(), &node_key, &*self.entropy)?;
        *held = node_key;
        Ok(())
    }

    /// The ids of the ring, oldest first; the last one seals.
    pub fn key_ids(&self) -> Vec<KeyId> {
        self.keys.read().iter().map(|key| key.id).collect()
    }

    /// Seals `plain` under the newest key, bound to `name`.
    pub fn seal(&self, name: &[u8], plain: &[u8]) -> Bytes {
        let keys = self.keys.read();
        let key = keys.last().expect("a ring is never empty");
        let nonce = self.nonces.next(&*self.entropy);
        let mut sealed = BytesMut::with_capacity(plain.len() + SEALED_BYTES_MORE);
        sealed.extend_from_slice(&[FORMAT]);
        sealed.extend_from_slice(&key.id.0.to_be_bytes());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let tag = key
            .cipher
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(name),
                &mut sealed[HEADER_BYTES..],
            )
            .expect("values are far below the cipher's limit of 64 GiB");
        sealed.extend_from_slice(tag.as_ref());
        assert_eq!(sealed.len(), plain.len() + SEALED_BYTES_MORE, "a sealed value's length");
        sealed.freeze()
    }

    /// Opens what [`Sealer::seal`] made under the same `name`.
    ///
    /// # Errors
    /// The value is not sealed, was sealed under an unknown key, or was altered or moved.
    pub fn open_value(&self, name: &[u8], sealed: &[u8]) -> Result<Bytes, SealError> {
        let (header, sealed) =
            sealed.split_first_chunk::<HEADER_BYTES>().ok_or(SealError::NotSealed)?;
        if header[0] != FORMAT || sealed.len() < TAG_BYTES {
            return Err(SealError::NotSealed);
        }
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(&header[1..=ID_BYTES]);
        let id = KeyId(u32::from_be_bytes(id));
        let mut nonce = [0; NONCE_BYTES];
        nonce.copy_from_slice(&header[1 + ID_BYTES..]);
        let keys = self.keys.read();
        // Newest first: nearly every value is under it.
        let key = keys.iter().rev().find(|key| key.id == id).ok_or(SealError::UnknownKey(id))?;
        let mut plain = BytesMut::from(sealed);
        let length = key
            .cipher
            .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(name), &mut plain)
            .map_err(|_| SealError::Altered)?
            .len();
        plain.truncate(length);
        Ok(plain.freeze())
    }
}

impl RecordSeal for Sealer {
    fn seal(&self, aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
        Self::seal(self, aad, plaintext).into()
    }

    fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, StoreError> {
        match self.open_value(aad, sealed) {
            Ok(plain) => Ok(plain.into()),
            Err(SealError::UnknownKey(_)) => Err(StoreError::wrong_key("journal")),
            Err(error) => Err(StoreError::corrupt("journal", 0, error.to_string())),
        }
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("path", &self.path).finish_non_exhaustive()
    }
}
