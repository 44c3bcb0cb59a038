//! The backup key: seals pieces of backups, and names each by what it says, so that the same piece is
//! kept once however often it is backed up.
//!
//! A piece's name is a keyed hash of its bytes: who has no key cannot ask a folder whether it holds a
//! text that they guess. A piece is sealed by AES-256-GCM under a key of its own, derived from the
//! backup key and the piece's name. So the nonce may be the same for all, and the same piece always
//! has the same bytes: whoever writes it twice writes the same file. What shows: sizes, and that two
//! backups share a piece.

use std::fmt;

use bytes::{Bytes, BytesMut};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;

use super::{NodeKey, SealError};

/// The first byte of a sealed piece.
const FORMAT: u8 = 1;
const TAG_BYTES: usize = 16;
/// How many bytes longer a sealed piece is than what it hides.
pub const SEALED_PIECE_BYTES_MORE: usize = 1 + TAG_BYTES;

/// The name of a piece.
pub type PieceName = [u8; 32];

/// Seals, opens and names pieces. Its bytes appear in no log line.
#[derive(Clone)]
pub struct ContentKey {
    naming: hmac::Key,
    sealing: hmac::Key,
    marking: hmac::Key,
    id: [u8; 8],
}

impl ContentKey {
    /// The keys that follow from the 32 bytes of a key file.
    #[must_use]
    pub fn new(file: &NodeKey) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, file.bytes());
        let derived = |use_: &[u8]| hmac::sign(&root, use_);
        let key = |use_: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, derived(use_).as_ref());
        let id = derived(b"synod backup key/1");
        Self {
            naming: key(b"synod backup name/1"),
            sealing: key(b"synod backup seal/1"),
            marking: key(b"synod backup mark/1"),
            id: *id.as_ref().first_chunk().expect("32 bytes hold 8"),
        }
    }

    /// Tells one key from another and nothing else about it.
    #[must_use]
    pub fn id(&self) -> [u8; 8] {
        self.id
    }

    /// What a piece with these bytes is called.
    #[must_use]
    pub fn name(&self, plain: &[u8]) -> PieceName {
        bytes_of(&hmac::sign(&self.naming, plain))
    }

    /// Seals a piece under its [`name`](ContentKey::name).
    ///
    /// # Panics
    /// When `name` is another piece's: two pieces under one key and nonce would tell of each other.
    #[must_use]
    pub fn seal(&self, name: &PieceName, plain: &[u8]) -> Vec<u8> {
        assert_eq!(*name, self.name(plain), "a piece is sealed under its own name");
        let mut sealed = Vec::with_capacity(plain.len() + SEALED_PIECE_BYTES_MORE);
        sealed.push(FORMAT);
        sealed.extend_from_slice(plain);
        let tag = self
            .cipher(name)
            .seal_in_place_separate_tag(nonce(), Aad::from(name), &mut sealed[1..])
            .expect("pieces are far below the cipher's limit of 64 GiB");
        sealed.extend_from_slice(tag.as_ref());
        sealed
    }

    /// Opens what [`ContentKey::seal`] made.
    ///
    /// # Errors
    /// It is no sealed piece, or not the one of this name and key.
    pub fn open(&self, name: &PieceName, sealed: &[u8]) -> Result<Bytes, SealError> {
        let (format, body) = sealed.split_first().ok_or(SealError::NotSealed)?;
        if *format != FORMAT || body.len() < TAG_BYTES {
            return Err(SealError::NotSealed);
        }
        let mut plain = BytesMut::from(body);
        let opened = self.cipher(name).open_in_place(nonce(), Aad::from(name), &mut plain);
        let length = opened.map_err(|_| SealError::Altered)?.len();
        plain.truncate(length);
        // Implied by the tag, unless somebody with the key sealed it under another name.
        if self.name(&plain) != *name {
            return Err(SealError::Altered);
        }
        Ok(plain.freeze())
    }

    /// What only a holder of the key can write under `bytes`.
    #[must_use]
    pub fn mark(&self, bytes: &[u8]) -> [u8; 32] {
        bytes_of(&hmac::sign(&self.marking, bytes))
    }

    /// Whether `mark` is the one of `bytes`. Takes as long whatever is wrong.
    #[must_use]
    pub fn is_marked(&self, bytes: &[u8], mark: &[u8]) -> bool {
        hmac::verify(&self.marking, bytes, mark).is_ok()
    }

    fn cipher(&self, name: &PieceName) -> LessSafeKey {
        let key = hmac::sign(&self.sealing, name);
        let key = UnboundKey::new(&AES_256_GCM, key.as_ref());
        LessSafeKey::new(key.expect("a SHA-256 is as long as the key"))
    }
}

/// Each key seals one piece, so one nonce is enough.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

fn bytes_of(tag: &hmac::Tag) -> [u8; 32] {
    tag.as_ref().try_into().expect("an HMAC-SHA-256 has 32 bytes")
}

impl fmt::Debug for ContentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContentKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> ContentKey {
        ContentKey::new(&NodeKey::from_bytes([byte; 32]))
    }

    #[test]
    fn the_same_piece_has_the_same_name_and_bytes_and_another_key_knows_neither() {
        let (one, other) = (key(1), key(2));
        let name = one.name(b"rows");
        assert_eq!(one.seal(&name, b"rows"), key(1).seal(&name, b"rows"));
        assert_ne!(name, other.name(b"rows"));
        assert_ne!(one.id(), other.id());
        assert_eq!(one.open(&name, &one.seal(&name, b"rows")).expect("ours"), &b"rows"[..]);
        assert_eq!(other.open(&name, &one.seal(&name, b"rows")), Err(SealError::Altered));
    }

    #[test]
    fn a_flipped_bit_a_cut_and_a_foreign_name_are_refused() {
        let key = key(1);
        let name = key.name(b"rows");
        let sealed = key.seal(&name, b"rows");
        for at in 0..sealed.len() * 8 {
            let mut altered = sealed.clone();
            altered[at / 8] ^= 1 << (at % 8);
            assert!(key.open(&name, &altered).is_err(), "bit {at}");
        }
        for end in 0..sealed.len() {
            assert!(key.open(&name, &sealed[..end]).is_err(), "cut at {end}");
        }
        assert!(key.open(&key.name(b"other"), &sealed).is_err());
    }

    #[test]
    fn a_mark_is_of_its_bytes_and_key() {
        let mark = key(1).mark(b"manifest");
        assert!(key(1).is_marked(b"manifest", &mark));
        assert!(!key(2).is_marked(b"manifest", &mark) && !key(1).is_marked(b"manifesu", &mark));
        assert!(!key(1).is_marked(b"manifest", &mark[..31]));
    }

    #[test]
    fn the_bytes_of_format_1_are_kept() {
        let name = key(7).name(b"golden");
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        assert_eq!(hex(&name), GOLDEN_NAME);
        assert_eq!(hex(&key(7).seal(&name, b"golden")), GOLDEN_SEALED);
    }

    const GOLDEN_NAME: &str = "e347e75036fec003629e0c492399f8ffad5a13a20612875c591ffe09424e9605";
    const GOLDEN_SEALED: &str = "011ecdbc8353384304b58db986492551d65e830aaa5ebf";
}
