//! Browsers: a message through a push service that only the browser can open (RFC 8030, 8291, 8292).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{self, ECDSA_P256_SHA256_FIXED};
use serde_json::{Value, json};
use tests::{Shared, Stranger, in_time};

use super::receiver::{Asked, Receiver, Reply};

/// A browser's subscription.
struct Browser {
    private: EphemeralPrivateKey,
    public: Vec<u8>,
    auth: [u8; 16],
}

impl Browser {
    fn new() -> Self {
        let private = EphemeralPrivateKey::generate(&ECDH_P256, &SystemRandom::new());
        let private = private.expect("entropy");
        let public = private.compute_public_key().expect("it has one").as_ref().to_vec();
        Self { private, public, auth: [9; 16] }
    }

    fn subscription(&self, receiver: &Receiver, path: &str) -> Value {
        json!({
            "kind": "webpush",
            "endpoint": receiver.url(path),
            "p256dh": BASE64.encode(&self.public),
            "auth": BASE64.encode(self.auth),
        })
    }

    /// What a message says: RFC 8291, section 3.4, from the browser's side.
    fn open(self, message: &[u8]) -> Value {
        let (salt, rest) = message.split_at(16);
        let (record_size, rest) = rest.split_at(4);
        assert_eq!(record_size, 4096_u32.to_be_bytes());
        assert_eq!(rest[0], 65, "a key of the message");
        let (theirs, sealed) = rest[1..].split_at(65);
        let public = self.public.clone();
        let peer = UnparsedPublicKey::new(&ECDH_P256, theirs);
        let (key, nonce) = agree_ephemeral(self.private, &peer, |secret| {
            let prk = keyed(&self.auth, &[secret]);
            let ikm = keyed(&prk, &[b"WebPush: info\0", &public, theirs, &[1]]);
            let prk = keyed(salt, &[&ikm]);
            let key = keyed(&prk, &[b"Content-Encoding: aes128gcm\0", &[1]]);
            (key, keyed(&prk, &[b"Content-Encoding: nonce\0", &[1]]))
        })
        .expect("two good keys");
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key[..16]).expect("16 bytes"));
        let nonce = Nonce::try_assume_unique_for_key(&nonce[..12]).expect("12 bytes");
        let mut sealed = sealed.to_vec();
        let opened = key.open_in_place(nonce, Aad::empty(), &mut sealed).expect("it is for us");
        let (last, text) = opened.split_last().expect("an end mark");
        assert_eq!(*last, 2, "the last record");
        serde_json::from_slice(text).expect("JSON")
    }
}

fn keyed(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    parts.iter().for_each(|part| context.update(part));
    context.sign().as_ref().to_vec()
}

/// The claims of a token that is signed with the key it names.
fn claims(asked: &Asked, application_key: &str) -> Value {
    let value = asked.header("authorization").strip_prefix("vapid t=").expect("RFC 8292");
    let (token, key) = value.split_once(", k=").expect("a key");
    assert_eq!(key, application_key, "the key that the browser subscribed with");
    let (signed, signature) = token.rsplit_once('.').expect("three parts");
    let key = BASE64.decode(key).expect("base64url");
    let signature = BASE64.decode(signature).expect("base64url");
    let key = signature::UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key);
    key.verify(signed.as_bytes(), &signature).expect("signed by the cluster");
    let claims = signed.split_once('.').expect("two parts").1;
    serde_json::from_slice(&BASE64.decode(claims).expect("base64url")).expect("JSON")
}

/// The cluster's key, from whichever node the user talks to.
async fn application_key(user: &Stranger) -> String {
    in_time(async {
        loop {
            let list = user.granted("GET", "/v1/push", None).await;
            if let Some(key) = list["applicationServerKey"].as_str() {
                return key.to_owned();
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_opens_what_it_is_told_and_the_service_knows_who_says_it() {
    let cluster = Shared::cluster().await;
    let mut receiver = Receiver::start().await;
    let (anna, ben) = (cluster.user(1, "web-anna").await, cluster.user(2, "web-ben").await);
    let key = application_key(&ben).await;
    assert_eq!(application_key(&anna).await, key, "one key for the cluster");
    let browser = Browser::new();
    let subscription = browser.subscription(&receiver, "/sub/1");
    let made = ben.granted("POST", "/v1/push", Some(&subscription)).await;
    let again = ben.granted("POST", "/v1/push", Some(&subscription)).await;
    assert_eq!(again, made, "the same subscription is the same registration");
    let mut chat = anna.chat().await;
    let place = chat.stored("web-ben", "m1", "nobody else may read this").await;

    let asked = receiver.next().await;
    assert_eq!(asked.path, "/sub/1");
    assert_eq!(asked.header("content-encoding"), "aes128gcm");
    assert!(asked.header("ttl").parse::<u32>().is_ok_and(|seconds| seconds > 0));
    let claims = claims(&asked, &key);
    assert_eq!(claims["aud"], json!(receiver.url("")), "for this service alone");
    let opened = browser.open(&asked.body);
    let expected = json!({
        "conversationId": place["conversationId"], "sequence": 1, "unread": 1,
    });
    assert_eq!(opened, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_ends_with_its_service_or_with_its_session() {
    let cluster = Shared::cluster().await;
    let mut receiver = Receiver::start().await;
    let (anna, ben) = (cluster.user(1, "webend-anna").await, cluster.user(2, "webend-ben").await);
    let laptop = ben.another("laptop").await;
    let here = Browser::new().subscription(&receiver, "/here");
    let there = Browser::new().subscription(&receiver, "/there");
    ben.granted("POST", "/v1/push", Some(&here)).await;
    laptop.granted("POST", "/v1/push", Some(&there)).await;
    laptop.granted("DELETE", "/v1/sessions/current", None).await;
    let list = ben.granted("GET", "/v1/push", None).await;
    let list = list["registrations"].as_array().expect("a list").clone();
    assert_eq!(list.len(), 1, "{list:?}");
    assert_eq!(list[0]["deviceId"], json!(ben.device));
    assert_eq!(list[0].get("endpoint"), None, "whoever knows it can tell the browser anything");

    receiver.script(&[Reply::Status(404)]).await;
    let mut chat = anna.chat().await;
    chat.stored("webend-ben", "m1", "text").await;
    assert_eq!(receiver.next().await.path, "/here");
    in_time(async {
        while ben.granted("GET", "/v1/push", None).await["registrations"] != json!([]) {}
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_that_no_browser_makes_is_refused_by_its_field() {
    let cluster = Shared::cluster().await;
    let receiver = Receiver::start().await;
    let ben = cluster.user(2, "webbad-ben").await;
    let good = Browser::new().subscription(&receiver, "/");
    let not_on_the_curve = BASE64.encode([4; 65]);
    for (field, value) in [
        ("endpoint", json!("http:/")),
        ("p256dh", json!("AAAA")),
        ("p256dh", json!(not_on_the_curve)),
        ("p256dh", json!(7)),
        ("auth", json!("not base64!")),
    ] {
        let mut bad = good.clone();
        bad[field] = value;
        let (status, problem) = ben.refused("POST", "/v1/push", Some(&bad)).await;
        assert_eq!((status, &problem["field"]), (400, &json!(field)), "{problem}");
    }
}
