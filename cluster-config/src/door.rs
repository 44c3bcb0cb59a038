//! Who may come in: nodes by a join token, the first operators by a one-time claim. Secrets are known here by their hash
//! alone; only the authority's key is kept whole, because every node must be able to sign for the next one.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{NodeId, Trust};

/// Join tokens that may be good at once.
pub(crate) const JOIN_TOKENS_MAX: usize = 64;
/// Nodes that one join token may let in.
pub const JOIN_TOKEN_USES_MAX: u32 = 16;
/// Claims that may be open at once.
pub(crate) const CLAIMS_MAX: usize = 8;
/// Operators of one cluster.
pub(crate) const OPERATORS_MAX: usize = 64;
/// Longest authority, certificate or key, in bytes of PEM.
pub(crate) const AUTHORITY_BYTES_MAX: usize = 16 << 10;

/// SHA-256 of a secret, or of a node's public key. Written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text is no fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is 64 hexadecimal digits")]
pub struct FingerprintError;

impl TryFrom<String> for Fingerprint {
    type Error = FingerprintError;

    fn try_from(text: String) -> Result<Self, FingerprintError> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return Err(FingerprintError);
        }
        for (place, byte) in bytes.iter_mut().enumerate() {
            let digits = &text[2 * place..2 * place + 2];
            // `from_str_radix` would take a sign.
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(FingerprintError);
            }
            *byte = u8::from_str_radix(digits, 16).map_err(|_| FingerprintError)?;
        }
        Ok(Self(bytes))
    }
}

impl From<Fingerprint> for String {
    fn from(print: Fingerprint) -> String {
        print.to_string()
    }
}

/// The right to let nodes in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    /// Of the secret in the token.
    pub secret: Fingerprint,
    /// Nodes that it still lets in.
    pub uses: u32,
    /// Milliseconds since 1970.
    pub expires_at_ms: u64,
    /// The node whose place the next one takes: its zone, its weight, its shards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<NodeId>,
}

/// The right to become an operator, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Of the secret.
    pub secret: Fingerprint,
    /// Milliseconds since 1970.
    pub expires_at_ms: u64,
}

/// Somebody who may change the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    /// Stands in the audit log.
    pub name: String,
    /// Of the token that this operator shows.
    pub token: Fingerprint,
    /// Milliseconds since 1970.
    pub created_at_ms: u64,
}

/// The cluster's certificate authority. Its `Debug` never shows the key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorityKey {
    /// The certificate, PEM.
    pub certificate: String,
    /// Its private key, PEM. Secret.
    pub key: String,
    /// Its certificate as the authority before it signed it, PEM: whoever still trusts that one alone comes to this one by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cross: Option<String>,
}

impl AuthorityKey {
    pub(crate) fn is_within_bounds(&self) -> bool {
        let fits = |pem: &str| (1..=AUTHORITY_BYTES_MAX).contains(&pem.len());
        fits(&self.certificate) && fits(&self.key) && self.cross.as_deref().is_none_or(fits)
    }
}

impl fmt::Debug for AuthorityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorityKey").finish_non_exhaustive()
    }
}

/// Everything about coming in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Door {
    /// Signs the certificates of nodes; `None`: it is kept elsewhere, and nobody can join by token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority: Option<AuthorityKey>,
    /// Good until they are used up or expire.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub join_tokens: Vec<JoinToken>,
    /// Good until they are used or expire.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<Claim>,
    /// In the order in which they came.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub operators: Vec<Operator>,
    /// Which certificates nodes hold, and a change of the authority. Boxed: a command holds a door.
    #[serde(skip_serializing_if = "Trust::is_empty")]
    pub trust: Box<Trust>,
}

impl Door {
    /// Who shows this token.
    pub fn operator(&self, token: Fingerprint) -> Option<&Operator> {
        self.operators.iter().find(|operator| operator.token == token)
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn is_within_bounds(&self) -> bool {
        self.join_tokens.len() <= JOIN_TOKENS_MAX
            && self.claims.len() <= CLAIMS_MAX
            && self.operators.len() <= OPERATORS_MAX
            && self.authority.as_ref().is_none_or(AuthorityKey::is_within_bounds)
            && self.trust.is_within_bounds()
    }
}
