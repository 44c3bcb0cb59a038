//! Tokens by which Apple's and Google's services know this server: signed by ourselves, good for an hour, and used again
//! for most of it, because both refuse those who sign anew for every request.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as BASE64};
use chat::Timestamp;
use parking_lot::Mutex;
use ring::rand::SystemRandom;
use ring::signature::{EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::Value;

use super::vapid;

/// How long a token is used, seconds: Apple wants it between 20 minutes and an hour old.
const USED_SECONDS: u64 = 40 * 60;

/// What signs.
pub(super) enum Signer {
    /// ES256.
    P256(EcdsaKeyPair),
    /// RS256.
    Rsa(RsaKeyPair),
}

/// A token that is signed now and then.
pub(super) struct Bearer {
    signer: Signer,
    header: Value,
    claims: Box<dyn Fn(u64) -> Value + Send + Sync>,
    kept: Mutex<Option<(u64, String)>>,
}

impl Bearer {
    /// With these claims for a second since 1970.
    pub(super) fn new(
        signer: Signer,
        header: Value,
        claims: impl Fn(u64) -> Value + Send + Sync + 'static,
    ) -> Self {
        Self { signer, header, claims: Box::new(claims), kept: Mutex::new(None) }
    }

    /// The value of `Authorization`.
    pub(super) fn authorization(&self, now: Timestamp) -> Option<String> {
        let seconds = now.0 / 1000;
        let mut kept = self.kept.lock();
        if let Some((since, token)) = &*kept
            && (*since..since + USED_SECONDS).contains(&seconds)
        {
            return Some(token.clone());
        }
        let claims = (self.claims)(seconds).to_string();
        let token = self.signer.sign(&self.header.to_string(), &claims)?;
        let value = format!("bearer {token}");
        *kept = Some((seconds, value.clone()));
        Some(value)
    }
}

impl Signer {
    fn sign(&self, header: &str, claims: &str) -> Option<String> {
        match self {
            Self::P256(pair) => vapid::sign(pair, header, claims),
            Self::Rsa(pair) => {
                let signed = format!("{}.{}", BASE64.encode(header), BASE64.encode(claims));
                let mut signature = vec![0; pair.public().modulus_len()];
                let random = SystemRandom::new();
                pair.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).ok()?;
                Some(format!("{signed}.{}", BASE64.encode(signature)))
            }
        }
    }
}

/// The bytes of the first block of a PEM file.
pub(super) fn der(pem: &str) -> Option<Vec<u8>> {
    let lines = pem.lines().map(str::trim).skip_while(|line| !line.starts_with("-----BEGIN"));
    let text: String = lines.skip(1).take_while(|line| !line.starts_with("-----END")).collect();
    STANDARD.decode(text).ok().filter(|der| !der.is_empty())
}

#[cfg(test)]
mod tests {
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_is_used_again_for_forty_minutes_and_never_from_the_future() {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
        let pair = vapid::pair(key.expect("entropy").as_ref()).expect("a good key");
        let bearer = Bearer::new(Signer::P256(pair), json!({}), |now| json!({ "iat": now }));
        let at = |seconds: u64| bearer.authorization(Timestamp(seconds * 1000)).expect("it signs");
        let first = at(10_000);
        assert!(first.starts_with("bearer "));
        assert_eq!(at(10_000 + 2399), first);
        let second = at(10_000 + 2400);
        assert_ne!(second, first);
        assert_ne!(at(10_000), second, "the clock went back: the other would not be good yet");
    }

    #[test]
    fn the_first_block_of_a_file_is_read_and_nothing_else() {
        let pem = "a note\n-----BEGIN X-----\nAQID\r\nBA==\n-----END X-----\nrest";
        assert_eq!(der(pem), Some(vec![1, 2, 3, 4]));
        assert_eq!(der("no block"), None);
        assert_eq!(der("-----BEGIN X-----\n!\n-----END X-----"), None);
    }
}
