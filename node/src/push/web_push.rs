//! Web Push: a message that only the browser can open (RFC 8291), in one record of `aes128gcm` (RFC 8188), for its push
//! service to hand over (RFC 8030).
//!
//! The names are those of RFC 8291, section 3.4. Each message has a key pair and a salt of its own, so nothing is ever
//! encrypted twice under one key.

use bytes::Bytes;
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use ring::hmac;
use ring::rand::SystemRandom;
use transport::outgoing::Request;

/// How long a push service keeps a message for a browser that is not there, seconds: as long as we would try.
const TIME_TO_LIVE: u32 = 24 * 3600;
/// The record size of the header. One record holds everything: the least that services must take is 4,096.
const RECORD_BYTES: u32 = 4096;
/// Ends the last record (RFC 8188, 2).
const LAST_RECORD: u8 = 2;

/// What one message is sealed with.
struct Keys<'a> {
    /// What both sides compute of one's private and the other's public key.
    ecdh_secret: &'a [u8],
    /// The public key of the message.
    as_public: &'a [u8],
    /// The browser's public key.
    ua_public: &'a [u8; 65],
    /// The browser's secret.
    auth_secret: &'a [u8; 16],
    salt: [u8; 16],
}

/// Whether these bytes can be a browser's key: a point of the curve.
pub(crate) fn is_point(ua_public: &[u8; 65]) -> bool {
    let ua_public = UnparsedPublicKey::new(&ECDH_P256, ua_public);
    EphemeralPrivateKey::generate(&ECDH_P256, &SystemRandom::new())
        .is_ok_and(|private| agree_ephemeral(private, &ua_public, |_| ()).is_ok())
}

/// The request that hands `plaintext` to the push service at `endpoint`.
pub(super) fn request(
    endpoint: &str,
    (ua_public, auth_secret): (&[u8; 65], &[u8; 16]),
    salt: [u8; 16],
    plaintext: &[u8],
    authorization: String,
) -> Option<Request> {
    let private = EphemeralPrivateKey::generate(&ECDH_P256, &SystemRandom::new()).ok()?;
    let as_public = private.compute_public_key().ok()?;
    let as_public = as_public.as_ref();
    let peer = UnparsedPublicKey::new(&ECDH_P256, ua_public);
    let body = agree_ephemeral(private, &peer, |ecdh_secret| {
        seal(&Keys { ecdh_secret, as_public, ua_public, auth_secret, salt }, plaintext)
    });
    let headers = vec![
        ("authorization", authorization),
        ("content-type", "application/octet-stream".to_owned()),
        ("content-encoding", "aes128gcm".to_owned()),
        ("ttl", TIME_TO_LIVE.to_string()),
        ("urgency", "normal".to_owned()),
    ];
    Some(Request { url: endpoint.to_owned(), headers, body: body.ok()?? })
}

/// Header and sealed record.
fn seal(keys: &Keys<'_>, plaintext: &[u8]) -> Option<Bytes> {
    let prk_key = hmac(keys.auth_secret, &[keys.ecdh_secret]);
    let ikm = hmac(&prk_key, &[b"WebPush: info\0", keys.ua_public, keys.as_public, &[1]]);
    let prk = hmac(&keys.salt, &[&ikm]);
    let cek = hmac(&prk, &[b"Content-Encoding: aes128gcm\0", &[1]]);
    let nonce = hmac(&prk, &[b"Content-Encoding: nonce\0", &[1]]);

    let mut record = plaintext.to_vec();
    record.push(LAST_RECORD);
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &cek[..16]).ok()?);
    let nonce = Nonce::try_assume_unique_for_key(&nonce[..12]).ok()?;
    key.seal_in_place_append_tag(nonce, Aad::empty(), &mut record).ok()?;
    assert!(record.len() <= RECORD_BYTES as usize, "what we push fits one record");

    let mut body = Vec::with_capacity(86 + record.len());
    body.extend_from_slice(&keys.salt);
    body.extend_from_slice(&RECORD_BYTES.to_be_bytes());
    body.push(u8::try_from(keys.as_public.len()).ok()?);
    body.extend_from_slice(keys.as_public);
    body.extend_from_slice(&record);
    Some(body.into())
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    parts.iter().for_each(|part| context.update(part));
    context.sign().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

    use super::*;

    fn bytes<const N: usize>(text: &str) -> [u8; N] {
        BASE64.decode(text).expect("base64url").try_into().expect("of its length")
    }

    /// RFC 8291, section 5 and appendix A.
    #[test]
    fn the_example_of_the_rfc_is_sealed_as_the_rfc_says() {
        let ua_public = bytes(
            "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
        );
        let as_public: [u8; 65] = bytes(
            "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8",
        );
        let ecdh_secret: [u8; 32] = bytes("kyrL1jIIOHEzg3sM2ZWRHDRB62YACZhhSlknJ672kSs");
        let keys = Keys {
            ecdh_secret: &ecdh_secret,
            as_public: &as_public,
            ua_public: &ua_public,
            auth_secret: &bytes("BTBZMqHH6r4Tts7J_aSIgg"),
            salt: bytes("DGv6ra1nlYgDCS1FRnbzlw"),
        };
        let sealed = seal(&keys, b"When I grow up, I want to be a watermelon").expect("it seals");
        let expected = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27ml\
                        mlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPT\
                        pK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN";
        assert_eq!(BASE64.encode(sealed), expected);
    }

    #[test]
    fn a_key_that_is_no_point_of_the_curve_is_noticed() {
        let point = bytes(
            "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
        );
        assert!(is_point(&point));
        let mut other = point;
        other[64] ^= 1;
        assert!(!is_point(&other));
        assert!(!is_point(&[4; 65]));
    }
}
