//! The key ring file: data keys, each wrapped by the node key, the newest last.
//!
//! The file is replaced as a whole (new file, sync, rename, sync of the folder), so a crash leaves
//! the old ring or the new one. Layout, big-endian: 8 bytes magic and version, u16 count, then for
//! each key a u32 id, a 12-byte nonce and the wrapped key with its tag (48 bytes); last a CRC-32C of
//! all before it, so that damage is told apart from a wrong node key.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::node_key::{KEY_BYTES, NodeKey};
use super::nonce::NONCE_BYTES;
use super::{Entropy, KeyId};
use crate::StoreError;

/// Magic and version of the file.
const MAGIC: &[u8; 8] = b"SYNKEYS\x01";

/// The most keys in a ring: one rotation a day for a year would be fewer. A bound on what a damaged
/// or hostile file makes us read.
pub(super) const KEYS_MAX: usize = 1024;

const WRAPPED_BYTES: usize = KEY_BYTES + 16;
const ENTRY_BYTES: usize = 4 + NONCE_BYTES + WRAPPED_BYTES;
const HEADER_BYTES: usize = MAGIC.len() + 2;
const CRC_BYTES: usize = 4;

/// A data key in memory.
pub(super) struct DataKey {
    pub(super) id: KeyId,
    bytes: [u8; KEY_BYTES],
    pub(super) cipher: LessSafeKey,
}

impl DataKey {
    /// Draws a key with an id that `taken` does not hold. Ids are drawn too, so that a ring made
    /// anew by mistake is recognised as a foreign one.
    pub(super) fn draw(entropy: &dyn Entropy, taken: &[Self]) -> Self {
        let mut id = [0; 4];
        loop {
            entropy.fill(&mut id);
            let id = KeyId(u32::from_be_bytes(id));
            if taken.iter().all(|key| key.id != id) {
                let mut bytes = [0; KEY_BYTES];
                entropy.fill(&mut bytes);
                return Self::new(id, bytes);
            }
        }
    }

    fn new(id: KeyId, bytes: [u8; KEY_BYTES]) -> Self {
        Self { id, bytes, cipher: cipher(&bytes) }
    }
}

/// The AES-256-GCM key of these bytes.
fn cipher(bytes: &[u8; KEY_BYTES]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes).expect("the length is the algorithm's"))
}

/// Reads a ring, or `None` when there is no file yet.
pub(super) fn read(path: &Path, node_key: &NodeKey) -> Result<Option<Vec<DataKey>>, StoreError> {
    match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io(path, error)),
        Ok(bytes) => decode(path, &bytes, node_key).map(Some),
    }
}

/// Replaces the ring on stable storage.
pub(super) fn write(
    path: &Path,
    keys: &[DataKey],
    node_key: &NodeKey,
    entropy: &dyn Entropy,
) -> Result<(), StoreError> {
    let bytes = encode(keys, node_key, entropy);
    let draft = path.with_extension("new");
    replace(path, &draft, &bytes).map_err(|error| StoreError::io(path, error))
}

fn replace(path: &Path, draft: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    std::fs::rename(draft, path)?;
    sync_parent(path)
}

/// Makes a created or renamed name durable.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(parent)?.sync_all()
}

fn encode(keys: &[DataKey], node_key: &NodeKey, entropy: &dyn Entropy) -> Vec<u8> {
    assert!(!keys.is_empty() && keys.len() <= KEYS_MAX, "a ring of {} keys", keys.len());
    let mut bytes = Vec::with_capacity(HEADER_BYTES + keys.len() * ENTRY_BYTES + CRC_BYTES);
    bytes.extend_from_slice(MAGIC);
    let count = u16::try_from(keys.len()).expect("KEYS_MAX fits in 16 bits");
    bytes.extend_from_slice(&count.to_be_bytes());
    let wrapping = cipher(node_key.bytes());
    for key in keys {
        // Wholly random nonces: a node key wraps a handful of keys in its life.
        let mut nonce = [0; NONCE_BYTES];
        entropy.fill(&mut nonce);
        let mut wrapped = key.bytes.to_vec();
        wrapping
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(name_of(key.id)),
                &mut wrapped,
            )
            .expect("a key is far below the cipher's limit");
        bytes.extend_from_slice(&key.id.0.to_be_bytes());
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(&wrapped);
    }
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_be_bytes());
    bytes
}

fn decode(path: &Path, bytes: &[u8], node_key: &NodeKey) -> Result<Vec<DataKey>, StoreError> {
    let corrupt = |what: &'static str| StoreError::corrupt(path, 0, what);
    let (body, crc) = bytes
        .split_last_chunk::<CRC_BYTES>()
        .filter(|(body, _)| body.len() >= HEADER_BYTES)
        .ok_or_else(|| corrupt("a key ring file is cut short"))?;
    let (header, entries) = body.split_at(HEADER_BYTES);
    let (magic, count) = header.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err(corrupt("not a key ring file of this version"));
    }
    if crc32c::crc32c(body) != u32::from_be_bytes(*crc) {
        return Err(corrupt("a key ring file fails its checksum"));
    }
    let count = usize::from(u16::from_be_bytes([count[0], count[1]]));
    if count == 0 || count > KEYS_MAX || entries.len() != count * ENTRY_BYTES {
        return Err(corrupt("a key ring file has the wrong length for its count"));
    }
    let wrapping = cipher(node_key.bytes());
    entries
        .chunks_exact(ENTRY_BYTES)
        .map(|entry| unwrap_key(entry, &wrapping).ok_or_else(|| StoreError::wrong_key(path)))
        .collect()
}

/// The key of one entry; `None` when the node key is not the one that wrapped it.
fn unwrap_key(entry: &[u8], wrapping: &LessSafeKey) -> Option<DataKey> {
    let (id, rest) = entry.split_first_chunk::<4>()?;
    let (nonce, wrapped) = rest.split_first_chunk::<NONCE_BYTES>()?;
    let id = KeyId(u32::from_be_bytes(*id));
    let mut wrapped = wrapped.to_vec();
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let bytes = wrapping.open_in_place(nonce, Aad::from(name_of(id)), &mut wrapped).ok()?;
    Some(DataKey::new(id, <[u8; KEY_BYTES]>::try_from(&*bytes).ok()?))
}

/// What is authenticated with a wrapped key, so that entries cannot be swapped.
fn name_of(id: KeyId) -> Vec<u8> {
    [b"synod data key ".as_slice(), &id.0.to_be_bytes()].concat()
}
