//! The key by which push services know this cluster (RFC 8292). Replicated and never changed, because every browser's
//! subscription is bound to it. Signing itself is not done here.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest key, in bytes: PKCS#8 of a P-256 key takes 138.
pub(crate) const PRIVATE_BYTES_MAX: usize = 256;
/// An uncompressed point of P-256.
pub(crate) const PUBLIC_BYTES: usize = 65;

/// A P-256 key pair. Its `Debug` never shows the private half.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushKey {
    /// PKCS#8, version 1.
    pub private: Vec<u8>,
    /// The uncompressed point, 65 bytes.
    pub public: Vec<u8>,
}

impl PushKey {
    pub(crate) fn is_within_bounds(&self) -> bool {
        (1..=PRIVATE_BYTES_MAX).contains(&self.private.len()) && self.public.len() == PUBLIC_BYTES
    }
}

impl fmt::Debug for PushKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushKey").finish_non_exhaustive()
    }
}
