//! Tokens that must not work: made by hand, with the cluster's own key where the point is another one.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cluster_config::TokenKey;
use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use store::seal::{NodeKey, Sealer, SystemEntropy};
use store::tables::{Engine, TablesOptions, open_tables};

/// The cluster's signing key, from the disk of a node that does not run: whoever has node key and disk has it.
pub(crate) fn key_of(home: &Path) -> TokenKey {
    let data = home.join("data");
    let node_key =
        NodeKey::load_or_create(&data.join("node.key"), &SystemEntropy).expect("its key");
    let sealer = Sealer::open(&data.join("data.keys"), node_key, Box::new(SystemEntropy));
    let sealer = Some(Arc::new(sealer.expect("its key ring")));
    let options = TablesOptions { sealer, ..TablesOptions::default() };
    let tables = open_tables(Engine::Fjall, data.join("tables"), &options).expect("its tables");
    let row = tables.get(&proto::keys::cluster_config()).expect("readable").expect("founded");
    let config = proto::cluster::decode_cluster_config(&row).expect("a configuration");
    config.keys.last().expect("a cluster has a key").clone()
}

/// The claims of a token.
pub(crate) fn claims(token: &str) -> Value {
    part(token, 1)
}

/// The header of a token.
pub(crate) fn header(token: &str) -> Value {
    part(token, 0)
}

fn part(token: &str, at: usize) -> Value {
    let part = token.split('.').nth(at).expect("three parts");
    let bytes = URL_SAFE_NO_PAD.decode(part).expect("base64url");
    serde_json::from_slice(&bytes).expect("JSON")
}

/// A token of these parts, signed by `sign`.
pub(crate) fn token(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature = sign(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// An Ed25519 signature by the key of this seed.
pub(crate) fn by(seed: &[u8; 32]) -> impl Fn(&[u8]) -> Vec<u8> {
    let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("32 bytes");
    move |signed| pair.sign(signed).as_ref().to_vec()
}

/// What a server that confuses algorithms would accept: an HMAC under the public key.
pub(crate) fn by_public(seed: &[u8; 32]) -> impl Fn(&[u8]) -> Vec<u8> {
    let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("32 bytes");
    let key = hmac::Key::new(hmac::HMAC_SHA256, pair.public_key().as_ref());
    move |signed| hmac::sign(&key, signed).as_ref().to_vec()
}

/// The same token with other claims: header and signature stay.
pub(crate) fn altered(token: &str, claim: &str, value: &Value) -> String {
    let mut claims = claims(token);
    claims[claim] = value.clone();
    let parts: Vec<&str> = token.split('.').collect();
    let claims = URL_SAFE_NO_PAD.encode(claims.to_string());
    format!("{}.{claims}.{}", parts[0], parts[2])
}

/// The claims of a token with one of them changed.
pub(crate) fn claiming(token: &str, claim: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims(token);
    claims[claim] = value.into();
    claims
}

/// A header that names an algorithm, and a key if there is one.
pub(crate) fn header_of(algorithm: &str, key: Option<&Value>) -> Value {
    let mut header = json!({ "typ": "JWT", "alg": algorithm });
    if let Some(key) = key {
        header["kid"] = key.clone();
    }
    header
}
