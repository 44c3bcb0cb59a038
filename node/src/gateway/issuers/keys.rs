//! Public keys of issuers, from a JWK set or from PEM. Ed25519 and P-256; other keys of a set are passed over, because
//! sets of identity providers hold keys for other uses too.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey};

/// Most keys of one issuer: a token without a key's name is tried with all of them.
pub(super) const KEYS_MAX: usize = 16;
/// SubjectPublicKeyInfo (RFC 8410) before the 32 bytes of an Ed25519 key.
const SPKI_ED25519: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// SubjectPublicKeyInfo (RFC 5480) before the 65 bytes of an uncompressed P-256 point.
const SPKI_P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const PEM_BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const PEM_END: &str = "-----END PUBLIC KEY-----";

/// One public key.
pub(super) struct Key {
    /// Its name (`kid`), if it has one.
    pub(super) id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

/// Reads the keys of a file.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse(text: &str) -> Result<Vec<Key>, String> {
    let keys = match text.trim_start().starts_with('{') {
        true => jwks(text)?,
        false => pems(text)?,
    };
    match keys.len() {
        0 => Err("holds no Ed25519 or P-256 public key".to_owned()),
        1..=KEYS_MAX => Ok(keys),
        more => Err(format!("holds {more} keys, more than {KEYS_MAX}")),
    }
}

fn jwks(text: &str) -> Result<Vec<Key>, String> {
    let set: JwkSet =
        serde_json::from_str(text).map_err(|error| format!("is no JWK set: {error}"))?;
    let mut keys = Vec::new();
    for jwk in set.keys {
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
                Algorithm::EdDSA
            }
            AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => {
                Algorithm::ES256
            }
            _ => continue,
        };
        let id = jwk.common.key_id.clone();
        let key = DecodingKey::from_jwk(&jwk).map_err(|error| {
            format!("key {}: {error}", id.as_deref().unwrap_or("without a name"))
        })?;
        keys.push(Key { id, algorithm, key });
    }
    Ok(keys)
}

fn pems(text: &str) -> Result<Vec<Key>, String> {
    let blocks = text.split(PEM_BEGIN).skip(1);
    blocks.map(|block| pem(block.split(PEM_END).next().unwrap_or_default())).collect()
}

fn pem(block: &str) -> Result<Key, String> {
    let text: String = block.split_whitespace().collect();
    let der = STANDARD.decode(text).map_err(|error| format!("is no PEM: {error}"))?;
    if let Some(raw) = der.strip_prefix(&SPKI_ED25519).filter(|raw| raw.len() == 32) {
        let key = DecodingKey::from_ed_der(raw);
        return Ok(Key { id: None, algorithm: Algorithm::EdDSA, key });
    }
    if let Some(point) = der.strip_prefix(&SPKI_P256).filter(|point| point.len() == 65) {
        let key = DecodingKey::from_ec_der(point);
        return Ok(Key { id: None, algorithm: Algorithm::ES256, key });
    }
    Err("a key is neither Ed25519 nor P-256".to_owned())
}
