//! By which name push services know this cluster (RFC 8292): one P-256 key for all nodes, kept by group 0.
//!
//! The key is made once, by whichever node leads group 0 when there is none, and never changed: every browser's
//! subscription is bound to it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use chat::Timestamp;
use cluster_config::{Command, PushKey};
use raft::{GroupId, Raft};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::cluster::Configured;

/// How long a token is good; at most a day (RFC 8292, 2).
const TOKEN_SECONDS: u64 = 12 * 3600;
/// How often a node looks whether it is up to it to make the key.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// The key pair, ready to sign.
pub(crate) struct Vapid {
    pair: EcdsaKeyPair,
    public: Vec<u8>,
}

impl Vapid {
    fn of(key: &PushKey) -> Option<Self> {
        let pair = pair(&key.private)?;
        (pair.public_key().as_ref() == key.public)
            .then(|| Self { pair, public: key.public.clone() })
    }

    /// What browsers take as `applicationServerKey`.
    pub(crate) fn public(&self) -> String {
        BASE64.encode(&self.public)
    }

    /// The value of `Authorization` for a request to `audience`, an origin.
    pub(super) fn authorization(
        &self,
        audience: &str,
        contact: Option<&str>,
        now: Timestamp,
    ) -> Option<String> {
        let mut claims = json!({ "aud": audience, "exp": now.0 / 1000 + TOKEN_SECONDS });
        if let Some(contact) = contact {
            claims["sub"] = json!(contact);
        }
        let header = json!({ "typ": "JWT", "alg": "ES256" });
        let token = sign(&self.pair, &header.to_string(), &claims.to_string())?;
        Some(format!("vapid t={token}, k={}", self.public()))
    }
}

/// A token of a header and claims, signed with ES256 (RFC 7515, 7518).
pub(super) fn sign(pair: &EcdsaKeyPair, header: &str, claims: &str) -> Option<String> {
    let signed = format!("{}.{}", BASE64.encode(header), BASE64.encode(claims));
    let signature = pair.sign(&SystemRandom::new(), signed.as_bytes()).ok()?;
    Some(format!("{signed}.{}", BASE64.encode(signature)))
}

/// A key pair of PKCS#8.
pub(super) fn pair(pkcs8: &[u8]) -> Option<EcdsaKeyPair> {
    let random = SystemRandom::new();
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &random).ok()
}

/// The cluster's key as group 0 has it. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct ApplicationKey {
    configured: Option<Configured>,
    made: Arc<OnceLock<Option<Arc<Vapid>>>>,
}

impl ApplicationKey {
    /// As `configured` tells it.
    pub(crate) fn new(configured: Configured) -> Self {
        Self { configured: Some(configured), made: Arc::default() }
    }

    /// The key, once there is one.
    pub(crate) fn current(&self) -> Option<Arc<Vapid>> {
        if let Some(made) = self.made.get() {
            return made.clone();
        }
        let config = self.configured.as_ref()?.borrow().clone()?;
        let key = config.push_key.as_ref()?;
        self.made.get_or_init(|| Vapid::of(key).map(Arc::new)).clone()
    }
}

/// Makes the key if there is none and this node leads group 0. One of the node's tasks; it ends when there is a key.
pub(crate) async fn make_key(raft: Raft, mut configured: Configured, stop: CancellationToken) {
    let made = async {
        loop {
            let has_key = |config: &Arc<cluster_config::ClusterConfig>| config.push_key.is_some();
            if configured.borrow_and_update().as_ref().is_some_and(has_key) {
                return;
            }
            let group = raft.group(GroupId::CLUSTER);
            if let Some(group) = group.filter(|group| group.status().is_leader)
                && let Some(key) = generate()
            {
                let command = Command::SetPushKey(key);
                let command = proto::cluster::encode_cluster_command("system", &command);
                if let Err(error) = group.propose(command).await {
                    tracing::debug!(%error, "the push key is proposed again");
                }
            }
            // Either the key arrives, or it is time to look whether this node leads by now.
            let _ = tokio::time::timeout(LOOK_AGAIN, configured.changed()).await;
        }
    };
    stop.run_until_cancelled(made).await;
}

/// A new key. Only production nodes make one: the library draws it from the system itself.
fn generate() -> Option<PushKey> {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).ok()?;
    let public = pair(pkcs8.as_ref())?.public_key().as_ref().to_vec();
    Some(PushKey { private: pkcs8.as_ref().to_vec(), public })
}

#[cfg(test)]
mod tests {
    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    use super::*;

    #[test]
    fn a_token_is_for_one_service_for_half_a_day_and_signed_with_the_key_it_names() {
        let vapid = Vapid::of(&generate().expect("entropy")).expect("a good key");
        let contact = Some("mailto:push@example.org");
        let now = Timestamp(1_700_000_000_999);
        let value = vapid.authorization("https://push.example.org", contact, now);
        let value = value.expect("it signs");
        let (token, key) = value.split_once(", k=").expect("two parameters");
        let key = BASE64.decode(key).expect("base64url");
        let token = token.strip_prefix("vapid t=").expect("the scheme");
        let (signed, signature) = token.rsplit_once('.').expect("three parts");
        let signature = BASE64.decode(signature).expect("base64url");
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key);
        assert!(key.verify(signed.as_bytes(), &signature).is_ok());
        let claims = signed.split_once('.').expect("two parts").1;
        let claims = BASE64.decode(claims).expect("base64url");
        let claims: serde_json::Value = serde_json::from_slice(&claims).expect("JSON");
        let expected = json!({
            "aud": "https://push.example.org",
            "exp": 1_700_000_000 + 12 * 3600,
            "sub": "mailto:push@example.org",
        });
        assert_eq!(claims, expected);
    }

    #[test]
    fn halves_that_do_not_belong_together_are_no_key() {
        let (one, other) = (generate().expect("entropy"), generate().expect("entropy"));
        assert!(Vapid::of(&PushKey { public: other.public, ..one }).is_none());
    }
}
