//! A join token as it is pasted: one word that holds where to ask, whom to trust and what to show.
//!
//! `sj1.<secret>.<authority>.<addresses>`, each part base64url without padding: 32 secret bytes, the authority's certificate
//! (DER), and `host:port,host:port`. The certificate is in it so that the joining node trusts nobody else before it shows
//! the secret.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::IdentityError;
use crate::clock::Entropy;

/// How long a token is good for when nobody says otherwise.
pub const JOIN_TOKEN_TTL: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest token that is looked at: a certificate and some addresses need a tenth of it.
const TOKEN_BYTES_MAX: usize = 16 << 10;
/// Addresses that one token may name.
const ADDRESSES_MAX: usize = 16;
const KIND: &str = "sj1";

/// The right to come in. Its `Debug` never shows the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    pub(super) secret: [u8; 32],
    /// The authority's certificate, DER.
    authority: Vec<u8>,
    /// `host:port` of nodes.
    pub(super) addresses: Vec<String>,
}

impl std::fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinToken").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl JoinToken {
    /// A token with a fresh secret for the cluster of this authority.
    ///
    /// # Errors
    /// When the certificate is not PEM.
    pub(crate) fn draw(
        authority_pem: &str,
        addresses: Vec<String>,
        entropy: &dyn Entropy,
    ) -> Result<Self, IdentityError> {
        let mut secret = [0; 32];
        entropy.fill(&mut secret);
        let lines = authority_pem.lines().map(str::trim);
        let lines: String = lines.filter(|line| !line.starts_with("-----")).collect();
        let authority = STANDARD.decode(lines);
        let authority = authority.map_err(|_| IdentityError::Token("no certificate"))?;
        Ok(Self { secret, authority, addresses })
    }

    /// Reads what was pasted.
    ///
    /// # Errors
    /// When it is something else.
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        let text = text.trim();
        if text.len() > TOKEN_BYTES_MAX {
            return Err(IdentityError::Token("it is too long"));
        }
        let mut parts = text.split('.');
        if parts.next() != Some(KIND) {
            return Err(IdentityError::Token("it begins with `sj1.`"));
        }
        let mut part = || {
            let part = parts.next().ok_or(IdentityError::Token("a part is missing"))?;
            URL_SAFE_NO_PAD
                .decode(part)
                .map_err(|_| IdentityError::Token("a part is not base64url"))
        };
        let (secret, authority, addresses) = (part()?, part()?, part()?);
        let secret = secret.try_into().map_err(|_| IdentityError::Token("the secret is cut"))?;
        let addresses = String::from_utf8(addresses);
        let addresses = addresses.map_err(|_| IdentityError::Token("the addresses are no text"))?;
        let addresses: Vec<String> =
            addresses.split(',').take(ADDRESSES_MAX).map(str::to_owned).collect();
        if addresses.iter().any(|address| !address.contains(':')) {
            return Err(IdentityError::Token("an address has no port"));
        }
        Ok(Self { secret, authority, addresses })
    }

    /// The token as text. Secret.
    #[must_use]
    pub fn reveal(&self) -> String {
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let addresses = self.addresses.join(",");
        let authority = part(&self.authority);
        format!("{KIND}.{}.{authority}.{}", part(&self.secret), part(addresses.as_bytes()))
    }

    /// By which the cluster knows the secret.
    pub(crate) fn fingerprint(&self) -> cluster_config::Fingerprint {
        super::print(&self.secret)
    }

    /// The authority's certificate, PEM.
    pub(super) fn authority_pem(&self) -> String {
        /// Characters of a line (RFC 7468, section 2).
        const LINE: usize = 64;
        let text = STANDARD.encode(&self.authority);
        let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
        for line in text.as_bytes().chunks(LINE) {
            pem.push_str(std::str::from_utf8(line).expect("base64 is ASCII"));
            pem.push('\n');
        }
        pem.push_str("-----END CERTIFICATE-----\n");
        pem
    }
}
