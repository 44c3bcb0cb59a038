//! Tokens of an issuer, made by hand, so that each forgery fails for its own reason.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use serde_json::{Value, json};

use super::*;

const NOW: Timestamp = Timestamp(1_700_000_000_000);
const NOW_S: u64 = NOW.0 / 1000;

fn ed25519(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("32 bytes")
}

fn jwk(id: &str, pair: &Ed25519KeyPair) -> Value {
    let x = URL_SAFE_NO_PAD.encode(pair.public_key());
    json!({ "kty": "OKP", "crv": "Ed25519", "kid": id, "x": x })
}

fn trusting(keys: &str) -> Issuers {
    let trusted = Trusted {
        issuer: "https://id.example".to_owned(),
        audience: Some("synod".to_owned()),
        source: Source::File(PathBuf::new()),
        keys: RwLock::new(Some(Arc::new(keys::parse(keys).expect("good keys")))),
    };
    Issuers(Arc::new([trusted]))
}

/// A server of keys that answers what it is told, and counts.
#[derive(Default)]
struct Told {
    answer: Mutex<Option<Result<String, String>>>,
    asked: AtomicUsize,
}

impl KeyServers for Told {
    fn fetch(&self, _url: &str, _bytes_max: usize) -> BoxFuture<'static, Result<Bytes, String>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let answer = self.answer.lock().clone();
        Box::pin(async {
            match answer {
                Some(answer) => answer.map(Bytes::from),
                None => std::future::pending().await,
            }
        })
    }
}

impl Told {
    fn say(&self, answer: Result<String, &str>) {
        *self.answer.lock() = Some(answer.map_err(str::to_owned));
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// Issuers of which the first has a server that says `told`, and the second a file.
async fn served(told: &Arc<Told>, folder: &std::path::Path) -> Issuers {
    let file = folder.join("keys.json");
    std::fs::write(&file, set()).expect("writable");
    let issuer = |issuer: &str, keys, keys_url| Issuer {
        issuer: issuer.to_owned(),
        audience: None,
        keys,
        keys_url,
    };
    let url = "https://id.example/keys".to_owned();
    let issuers = [
        issuer("https://id.example", None, Some(url)),
        issuer("https://other.example", Some(file), None),
    ];
    let servers: Arc<dyn KeyServers> = Arc::clone(told) as _;
    Issuers::load(&issuers, &servers).await.expect("good files")
}

fn one_key(seed: u8) -> String {
    json!({ "keys": [jwk(&format!("k{seed}"), &ed25519(seed))] }).to_string()
}

async fn shown(issuers: &Issuers, seed: u8) -> Result<Issued, TokenError> {
    let header = json!({ "alg": "EdDSA", "kid": format!("k{seed}") });
    let token = token(&header, &claims(), by(seed));
    issuers.judge(NOW, &token).await.expect("it names the issuer")
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_missing_is_fetched_but_not_for_every_name_that_is_made_up() {
    let (told, folder) = (Arc::new(Told::default()), tempfile::tempdir().expect("writable"));
    let issuers = served(&told, folder.path()).await;
    told.say(Ok(one_key(1)));
    assert!(shown(&issuers, 1).await.is_ok(), "fetched with the first token");
    for _ in 0..50 {
        assert_eq!(shown(&issuers, 9).await, Err(TokenError::UnknownKey));
    }
    assert_eq!(told.asked(), 1);
    told.say(Ok(one_key(2)));
    tokio::time::advance(Duration::from_secs(11)).await;
    assert!(shown(&issuers, 2).await.is_ok(), "a key that came later");
    assert_eq!(shown(&issuers, 1).await, Err(TokenError::UnknownKey), "and one that went");
    assert_eq!(told.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_last_good_keys_outlive_their_server() {
    let (told, folder) = (Arc::new(Told::default()), tempfile::tempdir().expect("writable"));
    let issuers = served(&told, folder.path()).await;
    told.say(Ok(one_key(1)));
    let stop = CancellationToken::new();
    let following = tokio::spawn(issuers.clone().follow(stop.clone()));
    while issuers
        .verify(NOW, &token(&json!({ "alg": "EdDSA" }), &claims(), by(1)))
        .is_none_or(|judged| judged.is_err())
    {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for broken in [Err("unreachable"), Ok("{ no JSON".to_owned()), Ok("{\"keys\":[]}".to_owned())] {
        told.say(broken);
        tokio::time::sleep(Duration::from_secs(900)).await;
        assert!(shown(&issuers, 1).await.is_ok());
    }
    assert!(told.asked() > 3, "it was asked again");
    stop.cancel();
    following.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_keeps_only_its_own_users_waiting_and_not_for_long() {
    let (told, folder) = (Arc::new(Told::default()), tempfile::tempdir().expect("writable"));
    let issuers = served(&told, folder.path()).await;
    let waiting = tokio::spawn({
        let issuers = issuers.clone();
        async move {
            let began = tokio::time::Instant::now();
            (shown(&issuers, 1).await, began.elapsed())
        }
    });
    let mut other = claims();
    other["iss"] = json!("https://other.example");
    let began = tokio::time::Instant::now();
    let good = token(&json!({ "alg": "EdDSA", "kid": "k1" }), &other, by(1));
    assert!(issuers.judge(NOW, &good).await.expect("it names the issuer").is_ok());
    assert_eq!(began.elapsed(), Duration::ZERO);
    let (judged, took) = waiting.await.expect("no panic");
    assert_eq!(judged, Err(TokenError::NoIssuerKeys));
    assert!(took <= Duration::from_secs(4), "{took:?}");
}

fn claims() -> Value {
    json!({
        "iss": "https://id.example", "aud": ["other", "synod"], "sub": "alice",
        "iat": NOW_S, "nbf": NOW_S, "exp": NOW_S + 600, "device": "phone",
    })
}

fn token(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature = sign(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn by(seed: u8) -> impl Fn(&[u8]) -> Vec<u8> {
    move |signed| ed25519(seed).sign(signed).as_ref().to_vec()
}

fn set() -> String {
    json!({ "keys": [jwk("k1", &ed25519(1)), jwk("k2", &ed25519(2))] }).to_string()
}

fn judged(claims: &Value) -> Result<Issued, TokenError> {
    let token = token(&json!({ "alg": "EdDSA", "kid": "k1" }), claims, by(1));
    trusting(&set()).verify(NOW, &token).expect("it names the issuer")
}

fn with(claim: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims();
    claims[claim] = value.into();
    claims
}

#[test]
fn a_good_token_names_user_device_and_time() {
    let issued = judged(&claims()).expect("it is good");
    assert_eq!(issued.who.user.as_str(), "alice");
    assert_eq!((issued.device_name.as_str(), issued.issued_at), ("phone", NOW));
    assert_eq!(judged(&with("jti", "another")).expect("good").who, issued.who, "the same device");
    assert_ne!(judged(&with("device", "tablet")).expect("good").who.device, issued.who.device);
    assert_ne!(judged(&with("sub", "bob")).expect("good").who.device, issued.who.device);
    let mut shared = claims();
    shared.as_object_mut().expect("an object").remove("device");
    assert_eq!(judged(&shared).expect("good").device_name, "https://id.example");
}

#[test]
fn claims_that_do_not_hold_here_and_now_are_refused() {
    for (claim, value, refused) in [
        ("aud", json!("other"), TokenError::Malformed),
        ("aud", json!(null), TokenError::Malformed),
        ("exp", json!(NOW_S - 61), TokenError::Expired),
        ("nbf", json!(NOW_S + 61), TokenError::Expired),
        ("iat", json!(NOW_S + 61), TokenError::Expired),
        ("sub", json!(".."), TokenError::Malformed),
        ("device", json!("x".repeat(257)), TokenError::Malformed),
    ] {
        assert_eq!(judged(&with(claim, value.clone())), Err(refused), "{claim} {value}");
    }
    for within in [("exp", NOW_S - 59), ("nbf", NOW_S + 59), ("iat", NOW_S + 59)] {
        assert!(judged(&with(within.0, within.1)).is_ok(), "{within:?}: clocks differ");
    }
    for missing in ["sub", "exp", "aud"] {
        let mut claims = claims();
        claims.as_object_mut().expect("an object").remove(missing);
        assert!(judged(&claims).is_err(), "{missing}");
    }
}

#[test]
fn a_token_of_somebody_else_is_not_looked_at() {
    let issuers = trusting(&set());
    let other = with("iss", "https://elsewhere.example");
    let foreign = token(&json!({ "alg": "EdDSA" }), &other, by(1));
    for other in [foreign.as_str(), "", "..", "a.b.c"] {
        assert!(issuers.verify(NOW, other).is_none(), "{other}");
    }
}

#[test]
fn only_the_key_and_algorithm_of_the_issuer_are_accepted() {
    let issuers = trusting(&set());
    let judged = |header: Value, sign: &dyn Fn(&[u8]) -> Vec<u8>| {
        issuers.verify(NOW, &token(&header, &claims(), sign)).expect("it names the issuer")
    };
    assert!(judged(json!({ "alg": "EdDSA" }), &by(2)).is_ok(), "any of its keys");
    let wrong = Err(TokenError::BadSignature);
    assert_eq!(judged(json!({ "alg": "EdDSA", "kid": "k1" }), &by(2)), wrong, "not under a name");
    assert_eq!(judged(json!({ "alg": "EdDSA" }), &by(3)), wrong);
    let unknown = Err(TokenError::UnknownKey);
    assert_eq!(judged(json!({ "alg": "EdDSA", "kid": "k3" }), &by(1)), unknown);
    assert_eq!(judged(json!({ "alg": "ES256" }), &by(1)), unknown);
    let public = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, ed25519(1).public_key().as_ref());
    let hmac = |signed: &[u8]| ring::hmac::sign(&public, signed).as_ref().to_vec();
    assert_eq!(judged(json!({ "alg": "HS256" }), &hmac), unknown);
    assert!(judged(json!({ "alg": "none" }), &|_: &[u8]| Vec::new()).is_err());
}

#[test]
fn es256_is_accepted_from_a_set_and_from_pem() {
    let random = SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("entropy");
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).expect("just made");
    let point = pair.public_key().as_ref().to_vec();
    let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
    let set = json!({ "keys": [
        { "kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "for something else" },
        { "kty": "EC", "crv": "P-256", "kid": "p", "x": x, "y": y },
    ] });
    let prefix = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE";
    let rest = base64::engine::general_purpose::STANDARD.encode(&point[1..]);
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{prefix}{rest}\n-----END PUBLIC KEY-----\n");
    let sign = |signed: &[u8]| pair.sign(&random, signed).expect("entropy").as_ref().to_vec();
    for keys in [set.to_string(), pem] {
        let good = token(&json!({ "alg": "ES256" }), &claims(), sign);
        let issued = trusting(&keys).verify(NOW, &good).expect("it names the issuer");
        assert_eq!(issued.expect("it is good").who.user.as_str(), "alice");
    }
}

#[test]
fn files_without_a_usable_key_are_refused() {
    let prefix = "MCowBQYDK2VwAyEA";
    let key = base64::engine::general_purpose::STANDARD.encode([9; 30]);
    for bad in [
        "",
        "{",
        "{\"keys\":[]}",
        "-----BEGIN PUBLIC KEY-----\n!!\n-----END PUBLIC KEY-----",
        &format!("-----BEGIN PUBLIC KEY-----\n{prefix}{key}\n-----END PUBLIC KEY-----"),
    ] {
        assert!(keys::parse(bad).is_err(), "{bad}");
    }
    let many: Vec<Value> = (0..17).map(|seed| jwk("k", &ed25519(seed))).collect();
    assert!(keys::parse(&json!({ "keys": many }).to_string()).is_err());
}
