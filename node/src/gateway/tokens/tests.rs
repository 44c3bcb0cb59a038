//! Claims about tokens: who may issue one, how long it is good, and what a shown one gives away.
//! Keys are fixed and time stands still; no request is made.

use serde_json::json;

use super::*;
use crate::clock::SeededEntropy;

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn seed(id: &str, byte: u8) -> TokenSeed {
    TokenSeed { id: id.to_owned(), seed: [byte; 32], retired: false }
}

fn tokens(keys: &[TokenSeed]) -> Tokens {
    Tokens::new(Arc::new(Arc::new(KeySet::new(keys))))
}

fn alice() -> Identity {
    Identity { user: UserId::parse("alice").expect("legal"), device: DeviceId(0xa11ce) }
}

fn later(by: Duration) -> Timestamp {
    Timestamp(NOW.0 + u64::try_from(by.as_millis()).expect("short"))
}

/// A token with any header and claims, signed with the key of `seed` or not at all.
fn forged(header: &serde_json::Value, claims: &serde_json::Value, signer: Option<u8>) -> String {
    let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = signer.map_or_else(String::new, |byte| {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[byte; 32]).expect("any seed is a key");
        URL_SAFE_NO_PAD.encode(pair.sign(message.as_bytes()))
    });
    format!("{message}.{signature}")
}

fn claims() -> serde_json::Value {
    let device = DeviceId(0xa11ce).to_string();
    json!({ "sub": "alice", "device": device, "iat": NOW.0 / 1000, "exp": NOW.0 / 1000 + 60 })
}

#[test]
fn an_issued_token_names_its_holder_until_it_expires() {
    let tokens = tokens(&[seed("k1", 1)]);
    let access = tokens.issue(NOW, &alice()).expect("there is a key");
    assert_eq!(access.expires_at, later(ACCESS_LIFETIME));
    assert_eq!(tokens.verify(NOW, &access.token), Ok(alice()));
    assert_eq!(tokens.verify(later(ACCESS_LIFETIME), &access.token), Ok(alice()), "clocks differ");
    let expired = later(ACCESS_LIFETIME + CLOCK_SKEW_MAX);
    assert_eq!(tokens.verify(expired, &access.token), Err(TokenError::Expired));
}

#[test]
fn the_hand_made_token_is_good_so_the_forgeries_below_fail_for_their_own_reason() {
    let good = forged(&json!({ "alg": "EdDSA", "kid": "k1" }), &claims(), Some(1));
    assert_eq!(tokens(&[seed("k1", 1)]).verify(NOW, &good), Ok(alice()));
}

#[test]
fn a_token_without_a_signature_is_refused() {
    let tokens = tokens(&[seed("k1", 1)]);
    for alg in ["none", "None", "NONE", "EdDSA"] {
        let forged = forged(&json!({ "alg": alg, "kid": "k1" }), &claims(), None);
        assert!(tokens.verify(NOW, &forged).is_err(), "{alg}");
    }
}

#[test]
fn a_token_of_another_algorithm_is_refused_even_when_it_verifies_there() {
    let tokens = tokens(&[seed("k1", 1)]);
    // The classic confusion: the public key taken for a shared secret.
    let pair = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).expect("any seed is a key");
    let header = Header { kid: Some("k1".to_owned()), ..Header::new(Algorithm::HS256) };
    let secret = EncodingKey::from_secret(pair.public_key().as_ref());
    let confused = jsonwebtoken::encode(&header, &claims(), &secret).expect("it encodes");
    assert_eq!(tokens.verify(NOW, &confused), Err(TokenError::Malformed));
}

#[test]
fn a_token_signed_by_another_key_is_refused() {
    let tokens = tokens(&[seed("k1", 1)]);
    let header = json!({ "alg": "EdDSA", "kid": "k1" });
    let forged_by_other = forged(&header, &claims(), Some(9));
    assert_eq!(tokens.verify(NOW, &forged_by_other), Err(TokenError::BadSignature));
    let unknown = forged(&json!({ "alg": "EdDSA", "kid": "k9" }), &claims(), Some(9));
    assert_eq!(tokens.verify(NOW, &unknown), Err(TokenError::UnknownKey));
    let nameless = forged(&json!({ "alg": "EdDSA" }), &claims(), Some(1));
    assert_eq!(tokens.verify(NOW, &nameless), Err(TokenError::Malformed));
}

#[test]
fn an_altered_token_is_refused() {
    let tokens = tokens(&[seed("k1", 1)]);
    let good = tokens.issue(NOW, &alice()).expect("there is a key").token;
    let mut parts: Vec<&str> = good.split('.').collect();
    let altered = URL_SAFE_NO_PAD.encode(claims().to_string().replace("alice", "mallory"));
    parts[1] = &altered;
    assert_eq!(tokens.verify(NOW, &parts.join(".")), Err(TokenError::BadSignature));
    for garbage in ["", ".", "..", "a.b.c", "é.é.é", &"x".repeat(5000)] {
        assert_eq!(tokens.verify(NOW, garbage), Err(TokenError::Malformed), "{garbage:.10}");
    }
}

#[test]
fn claims_that_are_missing_or_wrong_are_refused() {
    let tokens = tokens(&[seed("k1", 1)]);
    let header = json!({ "alg": "EdDSA", "kid": "k1" });
    for field in ["sub", "device", "iat", "exp"] {
        let mut claims = claims();
        claims.as_object_mut().expect("an object").remove(field);
        let token = forged(&header, &claims, Some(1));
        assert_eq!(tokens.verify(NOW, &token), Err(TokenError::Malformed), "{field}");
    }
    let mut claims = claims();
    claims["sub"] = json!("..");
    let token = forged(&header, &claims, Some(1));
    assert_eq!(tokens.verify(NOW, &token), Err(TokenError::Malformed));
}

#[test]
fn rotation_keeps_old_tokens_until_their_key_is_retired() {
    let old = tokens(&[seed("k1", 1)]).issue(NOW, &alice()).expect("there is a key").token;
    let both = tokens(&[seed("k1", 1), seed("k2", 2)]);
    assert_eq!(both.verify(NOW, &old), Ok(alice()));
    let new = both.issue(NOW, &alice()).expect("there is a key").token;
    assert_eq!(tokens(&[seed("k1", 1)]).verify(NOW, &new), Err(TokenError::UnknownKey));
    let retired = TokenSeed { retired: true, ..seed("k1", 1) };
    let after = tokens(&[retired.clone(), seed("k2", 2)]);
    assert_eq!(after.verify(NOW, &old), Err(TokenError::UnknownKey));
    assert_eq!(after.verify(NOW, &new), Ok(alice()));
    assert!(matches!(tokens(&[retired]).issue(NOW, &alice()), Err(TokenError::NoKey)));
}

#[test]
fn a_refresh_token_survives_its_text_and_only_ours_is_genuine() {
    let tokens = tokens(&[seed("k1", 1)]);
    let entropy = SeededEntropy::new(5);
    let who = Identity { user: UserId::parse("a.b/c=").expect("legal"), device: DeviceId(3) };
    let token = RefreshToken::generate(&entropy, who.clone());
    let shown = tokens.reveal(&token);
    let read = RefreshToken::parse(&shown).expect("our own");
    assert_eq!(read, token);
    assert_eq!(read.digest(), token.digest());
    assert!(tokens.is_genuine(&read, &shown));

    let made_up = RefreshToken::generate(&entropy, who).text();
    for forgery in [made_up.clone(), format!("{made_up}."), format!("{made_up}.AAAA")] {
        let read = RefreshToken::parse(&forgery).expect("it reads as one");
        assert!(!tokens.is_genuine(&read, &forgery), "{forgery}");
    }
    for garbage in ["", "a", "a.b", "..", "a.b.c", "YQ.0000000000000003.short"] {
        assert_eq!(RefreshToken::parse(garbage), None, "{garbage}");
    }
}

#[test]
fn what_a_link_was_given_in_another_history_says_nothing() {
    let seed = [TokenSeed { id: "1".to_owned(), seed: [7; 32], retired: false }];
    let tokens = |epoch| Tokens::new(Arc::new(Arc::new(KeySet::of_epoch(&seed, epoch))));
    let mark = tokens(1).mark(b"where to look").expect("there is a key");
    assert!(tokens(1).is_marked(b"where to look", mark.as_ref()));
    for other in [0, 2] {
        assert!(!tokens(other).is_marked(b"where to look", mark.as_ref()));
    }
    let before = Tokens::new(Arc::new(Arc::new(KeySet::new(&seed))));
    let mark = before.mark(b"where to look").expect("there is a key");
    assert!(tokens(0).is_marked(b"where to look", mark.as_ref()), "what was given stays good");
}
