//! Tokens of the operator's own application: whom they name, if a trusted issuer signed them.
//!
//! EdDSA and ES256 and nothing else; a key verifies its own algorithm whatever a header says. Keys are read from a
//! file, again when it changes, or from a URL: what cannot be read or has no key leaves the keys of before in force.
//! Nobody waits for the server of another issuer's keys. Whether the user and the device exist is not asked here.

mod keys;
mod source;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chat::limits::NAME_BYTES_MAX;
use chat::{DeviceId, Timestamp, UserId};
use futures::future::join_all;
use jsonwebtoken::Validation;
use parking_lot::RwLock;
use ring::digest::{Context, SHA256};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use self::keys::Key;
use self::source::Source;
use super::tokens::{CLOCK_SKEW_MAX, Identity, TokenError};
use crate::config::Issuer;

pub(crate) use self::source::{KeyServers, NoKeyServers};

/// Longest token of an issuer that is looked at: others put more claims into theirs than we do.
const TOKEN_BYTES_MAX: usize = 8192;
/// Keeps device ids of issuers apart from anything else that is hashed.
const DEVICE_DOMAIN: &[u8] = b"synod/issued-device/1";

/// The issuers that this node trusts. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Issuers(Arc<[Trusted]>);

struct Trusted {
    issuer: String,
    audience: Option<String>,
    source: Source,
    /// `None` until they were had once.
    keys: RwLock<Option<Arc<Vec<Key>>>>,
}

/// What a good token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Issued {
    /// Whom it names. The same token, and every later one for the same device, names the same device.
    pub(crate) who: Identity,
    /// What the device is called.
    pub(crate) device_name: String,
    /// When it was made; 0 when it does not say.
    pub(crate) issued_at: Timestamp,
}

#[derive(Debug, Deserialize)]
struct Claims {
    sub: String,
    aud: Option<Audience>,
    /// Seconds since 1970 (RFC 7519). Fractions are legal and cut off.
    exp: f64,
    nbf: Option<f64>,
    iat: Option<f64>,
    /// Which of the user's devices; without it, the one that this issuer's tokens share.
    device: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn names(&self, wanted: &str) -> bool {
        match self {
            Self::One(one) => one == wanted,
            Self::Many(many) => many.iter().any(|one| one == wanted),
        }
    }
}

impl Issuers {
    /// Reads the keys of all of them that are in files. Those at URLs are fetched by [`Issuers::follow`].
    ///
    /// # Errors
    /// Which file is not what it should be.
    pub(crate) async fn load(
        issuers: &[Issuer],
        servers: &Arc<dyn KeyServers>,
    ) -> Result<Self, String> {
        let mut all = Vec::with_capacity(issuers.len());
        for issuer in issuers {
            let source = Source::of(issuer, Arc::clone(servers));
            let keys = match source.is_file() {
                true => Some(Arc::new(source.read().await?)),
                false => None,
            };
            all.push(Trusted {
                issuer: issuer.issuer.clone(),
                audience: issuer.audience.clone(),
                source,
                keys: RwLock::new(keys),
            });
        }
        Ok(Self(all.into()))
    }

    /// Reads the keys again and again until a stop, those of each issuer by itself.
    pub(crate) async fn follow(self, stop: CancellationToken) {
        let all = join_all(self.0.iter().map(Trusted::follow));
        stop.run_until_cancelled(all).await;
    }

    /// As [`Issuers::verify`]; a token by a key that is not known is judged again once the keys were fetched, if they may
    /// be now.
    pub(crate) async fn judge(
        &self,
        now: Timestamp,
        token: &str,
    ) -> Option<Result<Issued, TokenError>> {
        let judged = self.verify(now, token)?;
        let missing = matches!(judged, Err(TokenError::UnknownKey | TokenError::NoIssuerKeys));
        if missing
            && let Some(trusted) = self.of(token)
            && trusted.fetch_missing().await
        {
            return Some(trusted.verify(now, token));
        }
        Some(judged)
    }

    /// What `token` says, if it claims to be of a trusted issuer; `None` for all others.
    pub(crate) fn verify(&self, now: Timestamp, token: &str) -> Option<Result<Issued, TokenError>> {
        Some(self.of(token)?.verify(now, token))
    }

    /// Whose a token claims to be.
    fn of(&self, token: &str) -> Option<&Trusted> {
        if self.0.is_empty() || token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let issuer = claimed_issuer(token)?;
        self.0.iter().find(|trusted| trusted.issuer == issuer)
    }
}

impl Trusted {
    async fn follow(&self) {
        let mut pause = self.source.first_look();
        loop {
            tokio::time::sleep(pause).await;
            pause = match self.take(self.source.read().await) {
                true => self.source.look_again(),
                false => self.source.look_after_failure(),
            };
        }
    }

    /// Fetches the keys because one is missing, unless that was done lately. Answers whether there are others now.
    async fn fetch_missing(&self) -> bool {
        match self.source.read_missing().await {
            Some(read) => self.take(read),
            // Somebody else may have fetched them while this one waited.
            None => !self.source.is_file(),
        }
    }

    /// Uses these keys from now on, if they were read.
    fn take(&self, read: Result<Vec<Key>, String>) -> bool {
        match read {
            Ok(keys) => {
                *self.keys.write() = Some(Arc::new(keys));
                true
            }
            Err(problem) => {
                let issuer = &self.issuer;
                tracing::warn!(%problem, issuer, "the keys of an issuer stay as they were");
                false
            }
        }
    }

    fn verify(&self, now: Timestamp, token: &str) -> Result<Issued, TokenError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
        let keys = self.keys.read().clone().ok_or(TokenError::NoIssuerKeys)?;
        let named = |key: &&Key| match (&header.kid, &key.id) {
            (Some(wanted), Some(id)) => wanted == id,
            _ => true,
        };
        let mut last = TokenError::UnknownKey;
        for key in keys.iter().filter(|key| key.algorithm == header.alg).filter(named) {
            match jsonwebtoken::decode::<Claims>(token, &key.key, &validation(key)) {
                Ok(decoded) => return self.judge(now, decoded.claims),
                Err(_) => last = TokenError::BadSignature,
            }
        }
        Err(last)
    }

    /// Everything but the signature.
    fn judge(&self, now: Timestamp, claims: Claims) -> Result<Issued, TokenError> {
        let skew = CLOCK_SKEW_MAX.as_secs_f64();
        let now = Duration::from_millis(now.0).as_secs_f64();
        let Claims { sub, aud, exp, nbf, iat, device } = claims;
        if self.audience.as_ref().is_some_and(|wanted| !aud.is_some_and(|aud| aud.names(wanted))) {
            return Err(TokenError::Malformed);
        }
        // JSON has neither infinities nor what is no number.
        let ended = exp + skew <= now;
        let early = [nbf, iat].into_iter().flatten().any(|from| from - skew > now);
        if ended || early {
            return Err(TokenError::Expired);
        }
        let user = UserId::parse(&sub).map_err(|_| TokenError::Malformed)?;
        let device_name = device.unwrap_or_else(|| self.issuer.clone());
        if device_name.len() > NAME_BYTES_MAX {
            return Err(TokenError::Malformed);
        }
        let device = self.device(&user, &device_name);
        let issued_at = Timestamp(iat.or(nbf).map_or(0, |at| (at.max(0.0) * 1000.0) as u64));
        Ok(Issued { who: Identity { user, device }, device_name, issued_at })
    }

    /// The same for the same issuer, user and name, on every node.
    fn device(&self, user: &UserId, name: &str) -> DeviceId {
        let mut context = Context::new(&SHA256);
        for part in
            [DEVICE_DOMAIN, self.issuer.as_bytes(), user.as_str().as_bytes(), name.as_bytes()]
        {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let digest = context.finish();
        let (first, _) = digest.as_ref().split_first_chunk().expect("SHA-256 has 32 bytes");
        DeviceId(u64::from_be_bytes(*first).max(1))
    }
}

/// The claim `iss`, of a token that nobody has verified yet: only to find the key.
fn claimed_issuer(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Claim {
        iss: String,
    }
    let claims = token.split('.').nth(1)?;
    let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
    serde_json::from_slice::<Claim>(&claims).ok().map(|claim| claim.iss)
}

/// One algorithm. Times and audience are compared above, with the node's own clock port.
fn validation(key: &Key) -> Validation {
    let mut validation = Validation::new(key.algorithm);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.set_required_spec_claims(&["exp", "sub"]);
    validation
}

#[cfg(test)]
mod tests;
