//! Who else may say who somebody is: issuers of tokens that the operator trusts.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::require;

/// Most issuers: each token that is not this cluster's is compared with all of them.
pub const ISSUERS_MAX: usize = 16;

/// Accounts of elsewhere.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// Trusted besides this cluster itself. The same in every node's file.
    pub issuers: Vec<Issuer>,
    /// Authorities that servers of keys are trusted by, PEM; those of the system when it is left out.
    pub authorities: Option<PathBuf>,
}

/// An issuer of JSON Web Tokens (RFC 7519) in which `sub` is a user's id.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// The claim `iss` of its tokens, to the letter.
    pub issuer: String,
    /// What their claim `aud` must name; without it tokens for anybody are good here.
    pub audience: Option<String>,
    /// The file with its public keys, Ed25519 or P-256: a JWK set (RFC 7517) or PEM. Read again when it changes.
    pub keys: Option<PathBuf>,
    /// Or the `https` URL of its JWK set. Fetched again every five minutes, and when a token names a key that is not in it.
    pub keys_url: Option<String>,
}

impl Auth {
    pub(super) fn files(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let keys = self.issuers.iter_mut().filter_map(|issuer| issuer.keys.as_mut());
        keys.chain(self.authorities.as_mut())
    }

    pub(super) fn check(&self) -> Result<(), String> {
        require(
            self.issuers.len() <= ISSUERS_MAX,
            format_args!("auth.issuers: at most {ISSUERS_MAX}"),
        )?;
        for (at, issuer) in self.issuers.iter().enumerate() {
            require(!issuer.issuer.is_empty(), "auth.issuers: issuer must not be empty")?;
            require(
                issuer.keys.is_some() != issuer.keys_url.is_some(),
                format_args!("auth.issuers: {}: one of keys and keys_url", issuer.issuer),
            )?;
            let plain = |url: &String| !url.starts_with("https://");
            require(
                !issuer.keys_url.as_ref().is_some_and(plain),
                format_args!("auth.issuers: {}: keys_url must begin with https://", issuer.issuer),
            )?;
            require(
                self.issuers[..at].iter().all(|other| other.issuer != issuer.issuer),
                format_args!("auth.issuers: {} is named twice", issuer.issuer),
            )?;
        }
        Ok(())
    }
}
