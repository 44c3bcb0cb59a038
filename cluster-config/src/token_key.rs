//! Keys that sign access tokens. Replicated, so that every node signs and checks alike. Signing itself is not done here.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An Ed25519 key by its seed. Its `Debug` never shows the seed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenKey {
    /// Names the key inside a token (`kid`). Never used again.
    pub id: u64,
    /// The 32 secret bytes of RFC 8032.
    pub seed: [u8; 32],
    /// Milliseconds since 1970.
    pub created_at_ms: u64,
    /// Checks old tokens no longer, and signs none.
    pub retired: bool,
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKey")
            .field("id", &self.id)
            .field("created_at_ms", &self.created_at_ms)
            .field("retired", &self.retired)
            .finish_non_exhaustive()
    }
}
