//! Who speaks: access tokens that any node can check, refresh tokens that only the user's shard can.
//!
//! An access token is a JWT signed with Ed25519 (RFC 8037) by a key of the cluster; no other algorithm is
//! accepted, whatever a header says. A refresh token names its user and device and carries 32 random bytes, of
//! which only the SHA-256 digest is stored. A token proves who signed in; whether that session still exists is
//! asked of the user's shard, not here.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chat::{DeviceId, Digest, Timestamp, UserId};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::clock::Entropy;

/// How long an access token is good for. An ended session is refused long before: its record is looked up each time.
pub(crate) const ACCESS_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// How far two nodes' clocks may differ before a fresh token is refused.
pub(crate) const CLOCK_SKEW_MAX: Duration = Duration::from_secs(60);
/// Longest access token that is looked at: a name of 64 bytes needs less than 400 characters.
const ACCESS_TOKEN_BYTES_MAX: usize = 2048;
/// Longest refresh token that is looked at.
const REFRESH_TOKEN_BYTES_MAX: usize = 256;
/// Tells the key that marks refresh tokens from the key that it is derived from.
const MARK_DOMAIN: &[u8] = b"synod/refresh/1";
/// The same for what links are given for the next.
const RESUME_DOMAIN: &[u8] = b"synod/resume/1";
/// PKCS #8 (RFC 8410) in front of a raw Ed25519 seed.
const PKCS8_ED25519: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// The signed-in user and the device that the session belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    /// The user.
    pub(crate) user: UserId,
    /// One of the user's devices.
    pub(crate) device: DeviceId,
}

/// One signing key of the cluster, as the replicated configuration holds it.
#[derive(Clone)]
pub(crate) struct TokenSeed {
    /// Its name in a token's header (`kid`).
    pub(crate) id: String,
    /// The Ed25519 seed.
    pub(crate) seed: [u8; 32],
    /// A retired key neither signs nor verifies.
    pub(crate) retired: bool,
}

/// Where the cluster's token keys come from: group 0, or a constant in tests.
pub(crate) trait TokenKeys: Send + Sync + 'static {
    /// The keys as this node knows them now; cheap.
    fn current(&self) -> Arc<KeySet>;
}

impl TokenKeys for Arc<KeySet> {
    fn current(&self) -> Arc<KeySet> {
        Self::clone(self)
    }
}

/// Keys ready for use: the newest signs, all that are not retired verify.
pub(crate) struct KeySet {
    signing: Option<(String, EncodingKey)>,
    verifying: BTreeMap<String, DecodingKey>,
    /// Mark refresh tokens as our own, newest last.
    marking: Vec<hmac::Key>,
    /// Likewise what links are given for the next.
    resuming: Vec<hmac::Key>,
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet").field("verifying", &self.verifying.keys()).finish_non_exhaustive()
    }
}

impl KeySet {
    /// Prepares `keys`, oldest first.
    #[must_use]
    pub(crate) fn new(keys: &[TokenSeed]) -> Self {
        Self::of_epoch(keys, 0)
    }

    /// The same in a history that was begun anew so many times: what links were given in another one says nothing.
    #[must_use]
    pub(crate) fn of_epoch(keys: &[TokenSeed], history_epoch: u64) -> Self {
        let history = [RESUME_DOMAIN, &history_epoch.to_be_bytes()].concat();
        let resume_domain = if history_epoch == 0 { RESUME_DOMAIN } else { &history };
        let mut signing = None;
        let mut verifying = BTreeMap::new();
        let mut marking = Vec::new();
        let mut resuming = Vec::new();
        for key in keys.iter().filter(|key| !key.retired) {
            let Ok(pair) = Ed25519KeyPair::from_seed_unchecked(&key.seed) else { continue };
            let der = [PKCS8_ED25519.as_slice(), key.seed.as_slice()].concat();
            signing = Some((key.id.clone(), EncodingKey::from_ed_der(&der)));
            let public = DecodingKey::from_ed_der(pair.public_key().as_ref());
            verifying.insert(key.id.clone(), public);
            let derived = |domain: &[u8]| {
                let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key.seed), domain);
                hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref())
            };
            marking.push(derived(MARK_DOMAIN));
            resuming.push(derived(resume_domain));
        }
        Self { signing, verifying, marking, resuming }
    }
}

/// Why an access token was not accepted. A client learns only that it was not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum TokenError {
    /// It is not a token of ours: not a JWT, another algorithm, or a claim is missing.
    #[error("not an access token of this cluster")]
    Malformed,
    /// No key of that name, or no longer.
    #[error("the key is not known or was retired")]
    UnknownKey,
    /// The signature does not belong to the key.
    #[error("the signature is wrong")]
    BadSignature,
    /// It was good once.
    #[error("the token has expired")]
    Expired,
    /// The cluster has no key to sign with.
    #[error("the cluster has no signing key")]
    NoKey,
    /// The keys of its issuer could not be had yet.
    #[error("the issuer's keys are not known yet")]
    NoIssuerKeys,
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    sub: String,
    device: String,
    /// Seconds since 1970 (RFC 7519).
    iat: u64,
    exp: u64,
}

/// An access token and when it ends.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    pub(crate) token: String,
    pub(crate) expires_at: Timestamp,
}

/// Issues and checks tokens with the cluster's keys.
#[derive(Clone)]
pub(crate) struct Tokens {
    keys: Arc<dyn TokenKeys>,
}

impl Tokens {
    /// Uses the keys that `keys` names at each call.
    pub(crate) fn new(keys: Arc<dyn TokenKeys>) -> Self {
        Self { keys }
    }

    /// A new access token for `who`.
    ///
    /// # Errors
    /// [`TokenError::NoKey`] while the cluster has none.
    pub(crate) fn issue(&self, now: Timestamp, who: &Identity) -> Result<Access, TokenError> {
        let keys = self.keys.current();
        let (id, key) = keys.signing.as_ref().ok_or(TokenError::NoKey)?;
        let issued = now.0 / 1000;
        let expires = issued + ACCESS_LIFETIME.as_secs();
        let claims = Claims {
            sub: who.user.as_str().to_owned(),
            device: who.device.to_string(),
            iat: issued,
            exp: expires,
        };
        let header = Header { kid: Some(id.clone()), ..Header::new(Algorithm::EdDSA) };
        let token = jsonwebtoken::encode(&header, &claims, key).map_err(|_| TokenError::NoKey)?;
        Ok(Access { token, expires_at: Timestamp(expires * 1000) })
    }

    /// Whom `token` names, if it is ours, unaltered and not expired.
    ///
    /// # Errors
    /// Every other token; see [`TokenError`].
    pub(crate) fn verify(&self, now: Timestamp, token: &str) -> Result<Identity, TokenError> {
        if token.len() > ACCESS_TOKEN_BYTES_MAX {
            return Err(TokenError::Malformed);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
        if header.alg != Algorithm::EdDSA {
            return Err(TokenError::Malformed);
        }
        let keys = self.keys.current();
        let kid = header.kid.ok_or(TokenError::Malformed)?;
        let key = keys.verifying.get(&kid).ok_or(TokenError::UnknownKey)?;
        let claims =
            jsonwebtoken::decode::<Claims>(token, key, &validation()).map_err(refused)?.claims;
        let now_s = now.0 / 1000;
        if now_s >= claims.exp.saturating_add(CLOCK_SKEW_MAX.as_secs()) {
            return Err(TokenError::Expired);
        }
        let user = UserId::parse(&claims.sub).map_err(|_| TokenError::Malformed)?;
        let device = claims.device.parse().map_err(|_| TokenError::Malformed)?;
        Ok(Identity { user, device })
    }

    /// A mark under `what`, which only this cluster can make; `None` while it has no key.
    pub(crate) fn mark(&self, what: &[u8]) -> Option<hmac::Tag> {
        self.keys.current().resuming.last().map(|key| hmac::sign(key, what))
    }

    /// Whether this cluster has made that mark under `what`.
    pub(crate) fn is_marked(&self, what: &[u8], mark: &[u8]) -> bool {
        self.keys.current().resuming.iter().any(|key| hmac::verify(key, what, mark).is_ok())
    }

    /// What the client gets of a refresh token: user, device, secret and our mark, joined by dots.
    pub(crate) fn reveal(&self, token: &RefreshToken) -> String {
        let text = token.text();
        match self.keys.current().marking.last() {
            Some(key) => format!("{text}.{}", mark(key, &text)),
            None => text,
        }
    }

    /// Whether `shown`, which read as `token`, was made by this cluster and not by somebody who knows a device's id.
    pub(crate) fn is_genuine(&self, token: &RefreshToken, shown: &str) -> bool {
        let text = token.text();
        let Some(tag) = shown.strip_prefix(&text).and_then(|rest| rest.strip_prefix('.')) else {
            return false;
        };
        let Ok(tag) = URL_SAFE_NO_PAD.decode(tag) else { return false };
        let keys = self.keys.current();
        keys.marking.iter().any(|key| hmac::verify(key, text.as_bytes(), &tag).is_ok())
    }
}

fn mark(key: &hmac::Key, text: &str) -> String {
    URL_SAFE_NO_PAD.encode(hmac::sign(key, text.as_bytes()))
}

/// EdDSA and nothing else. Times are compared above, with the node's own clock port.
fn validation() -> Validation {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.set_required_spec_claims(&["exp", "sub"]);
    validation
}

fn refused(error: jsonwebtoken::errors::Error) -> TokenError {
    match error.kind() {
        jsonwebtoken::errors::ErrorKind::InvalidSignature => TokenError::BadSignature,
        _ => TokenError::Malformed,
    }
}

/// What a client trades for a new access token. Shown to the client once, never stored.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RefreshToken {
    pub(crate) who: Identity,
    secret: [u8; 32],
}

impl RefreshToken {
    /// A new one for `who`.
    pub(crate) fn generate(entropy: &dyn Entropy, who: Identity) -> Self {
        let mut secret = [0; 32];
        entropy.fill(&mut secret);
        Self { who, secret }
    }

    /// What the user's shard stores.
    pub(crate) fn digest(&self) -> Digest {
        let digest = ring::digest::digest(&ring::digest::SHA256, &self.secret);
        Digest(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }

    /// User, device and secret, joined by dots.
    fn text(&self) -> String {
        let user = URL_SAFE_NO_PAD.encode(self.who.user.as_str());
        let secret = URL_SAFE_NO_PAD.encode(self.secret);
        format!("{user}.{}.{secret}", self.who.device)
    }

    /// Reads what [`Tokens::reveal`] wrote; `None` for anything else. The mark is not looked at.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() > REFRESH_TOKEN_BYTES_MAX {
            return None;
        }
        let mut parts = text.splitn(4, '.');
        let (user, device, secret) = (parts.next()?, parts.next()?, parts.next()?);
        let user = String::from_utf8(URL_SAFE_NO_PAD.decode(user).ok()?).ok()?;
        let who = Identity { user: UserId::parse(&user).ok()?, device: device.parse().ok()? };
        let secret = URL_SAFE_NO_PAD.decode(secret).ok()?.try_into().ok()?;
        Some(Self { who, secret })
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshToken").field("who", &self.who).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
