//! Tokens of the operator's own application: whom they name, if a trusted issuer signed them.
//!
//! EdDSA and ES256 and nothing else; a key verifies its own algorithm whatever a header says. Keys are read from a
//! file, again when it changes: a file that cannot be read or has no key leaves the keys of before in force. Whether
//! the user and the device exist is not asked here.

mod keys;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chat::limits::NAME_BYTES_MAX;
use chat::{DeviceId, Timestamp, UserId};
use jsonwebtoken::Validation;
use parking_lot::RwLock;
use ring::digest::{Context, SHA256};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use self::keys::Key;
use super::tokens::{CLOCK_SKEW_MAX, Identity, TokenError};
use crate::config::Issuer;

/// Longest token of an issuer that is looked at: others put more claims into theirs than we do.
const TOKEN_BYTES_MAX: usize = 8192;
/// Longest file of keys.
const KEYS_BYTES_MAX: u64 = 1 << 20;
/// From one look at the files to the next.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Keeps device ids of issuers apart from anything else that is hashed.
const DEVICE_DOMAIN: &[u8] = b"synod/issued-device/1";

/// The issuers that this node trusts. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Issuers(Arc<[Trusted]>);

struct Trusted {
    issuer: String,
    audience: Option<String>,
    file: PathBuf,
    keys: RwLock<Arc<Vec<Key>>>,
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
    /// Reads the keys of all of them.
    ///
    /// # Errors
    /// Which file is not what it should be.
    pub(crate) async fn load(issuers: &[Issuer]) -> Result<Self, String> {
        let mut all = Vec::with_capacity(issuers.len());
        for issuer in issuers {
            let keys = read(&issuer.keys).await?;
            all.push(Trusted {
                issuer: issuer.issuer.clone(),
                audience: issuer.audience.clone(),
                file: issuer.keys.clone(),
                keys: RwLock::new(Arc::new(keys)),
            });
        }
        Ok(Self(all.into()))
    }

    /// Reads the keys again and again until a stop.
    pub(crate) async fn follow(self, stop: CancellationToken) {
        if self.0.is_empty() {
            return;
        }
        while stop.run_until_cancelled(tokio::time::sleep(LOOK_AGAIN)).await.is_some() {
            for trusted in &*self.0 {
                match read(&trusted.file).await {
                    Ok(keys) => *trusted.keys.write() = Arc::new(keys),
                    Err(problem) => {
                        tracing::warn!(%problem, "the keys of an issuer stay as they were");
                    }
                }
            }
        }
    }

    /// What `token` says, if it claims to be of a trusted issuer; `None` for all others.
    pub(crate) fn verify(&self, now: Timestamp, token: &str) -> Option<Result<Issued, TokenError>> {
        if self.0.is_empty() || token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let issuer = claimed_issuer(token)?;
        let trusted = self.0.iter().find(|trusted| trusted.issuer == issuer)?;
        Some(trusted.verify(now, token))
    }
}

impl Trusted {
    fn verify(&self, now: Timestamp, token: &str) -> Result<Issued, TokenError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
        let keys = Arc::clone(&self.keys.read());
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

async fn read(file: &std::path::Path) -> Result<Vec<Key>, String> {
    let of_file = |problem: String| format!("{}: {problem}", file.display());
    let about = tokio::fs::metadata(file).await.map_err(|error| of_file(error.to_string()))?;
    if about.len() > KEYS_BYTES_MAX {
        return Err(of_file(format!("more than {KEYS_BYTES_MAX} bytes")));
    }
    let text = tokio::fs::read_to_string(file).await.map_err(|error| of_file(error.to_string()))?;
    keys::parse(&text).map_err(of_file)
}

#[cfg(test)]
mod tests;
