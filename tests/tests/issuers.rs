//! Tokens of the operator's own application (`auth.issuers`), at three nodes that trust its keys.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use node::{Clock as _, SystemClock};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use tests::{Cluster, PASSWORD, Shape, Stranger, http, in_time, problem};

/// How long a session that ended may still be good somewhere.
const ENDS_WITHIN: Duration = Duration::from_secs(5);
const ISSUER: &str = "https://app.example";

fn key(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("32 bytes")
}

fn key_set(seed: u8) -> String {
    let x = URL_SAFE_NO_PAD.encode(key(seed).public_key());
    json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "app", "x": x }] }).to_string()
}

fn now() -> u64 {
    SystemClock.now().0 / 1000
}

fn token(seed: u8, claims: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(&json!({ "alg": "EdDSA", "kid": "app" })), encode(claims));
    let signature = key(seed).sign(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn claims(user: &str, device: &str) -> Value {
    let now = now();
    json!({
        "iss": ISSUER, "aud": "synod", "sub": user, "device": device,
        "iat": now, "nbf": now - 5, "exp": now + 600,
    })
}

/// Somebody with a token of the application, talking to a node.
fn bearer(cluster: &Cluster, node: u64, user: &str, token: &str) -> Stranger {
    let session = json!({
        "userId": user, "deviceId": "", "accessToken": token, "refreshToken": "",
    });
    Stranger::with(cluster.plain_address(node), &session)
}

async fn trusting_cluster() -> Cluster {
    let mut cluster = Cluster::prepare(Shape::default());
    for node in 1..=3 {
        let home = cluster.home(node);
        std::fs::write(home.join("app.json"), key_set(1)).expect("a writable folder");
        let file = home.join("node.toml");
        let mut text = std::fs::read_to_string(&file).expect("the harness wrote it");
        text.push_str(&format!(
            "[[auth.issuers]]\nissuer = \"{ISSUER}\"\naudience = \"synod\"\nkeys = \"app.json\"\n"
        ));
        std::fs::write(&file, text).expect("a writable folder");
        cluster.start_node(node);
    }
    for node in 1..=3 {
        cluster.wait_ready(node).await;
    }
    cluster
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_of_the_operators_application_needs_no_account_here() {
    let cluster = trusting_cluster().await;
    let alice = token(1, &claims("app-alice", "phone"));
    let bob = token(1, &claims("app-bob", "phone"));
    // Both come into being where and when they are first seen: on a link, and at a request.
    let mut hers = bearer(&cluster, 1, "app-alice", &alice).chat().await;
    bearer(&cluster, 2, "app-bob", &bob).granted("GET", "/v1/conversations", None).await;
    hers.stored("app-bob", "m1", "welcome").await;
    let mut his = bearer(&cluster, 3, "app-bob", &bob).chat().await;
    assert_eq!(his.messages(1).await[0]["messageText"], "welcome");
    // A later token for the same device is the same device, so nothing comes twice.
    let later = token(1, &claims("app-bob", "phone"));
    for node in 1..=3 {
        let here = bearer(&cluster, node, "app-bob", &later);
        let sessions = here.granted("GET", "/v1/sessions", None).await;
        let sessions = sessions["sessions"].as_array().expect("a list").clone();
        assert_eq!(sessions.len(), 1, "{sessions:?}");
        assert_eq!(
            (&sessions[0]["deviceName"], &sessions[0]["current"]),
            (&json!("phone"), &json!(true))
        );
    }
    // There is no password to guess.
    let login = json!({ "userId": "app-bob", "password": "" }).to_string();
    let guess = json!({ "userId": "app-bob", "password": PASSWORD }).to_string();
    for (body, status) in [(login, 400), (guess, 401)] {
        let node = cluster.plain_address(1);
        let answer = http::request(node, "POST", "/v1/sessions", None, &body).await;
        assert_eq!(answer.expect("the node answers").status, status);
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_was_signed_out_does_not_come_back_with_a_token_from_before() {
    let cluster = trusting_cluster().await;
    let mut from_before = claims("app-carol", "phone");
    from_before["iat"] = json!(now() - 30);
    let phone = bearer(&cluster, 1, "app-carol", &token(1, &from_before));
    let mut link = phone.chat().await;
    let laptop = bearer(&cluster, 2, "app-carol", &token(1, &claims("app-carol", "laptop")));
    let sessions = laptop.granted("GET", "/v1/sessions", None).await;
    let sessions = sessions["sessions"].as_array().expect("a list").clone();
    let lost = sessions.iter().find(|one| one["deviceName"] == "phone").expect("it is there");
    let path = format!("/v1/sessions/{}", lost["deviceId"].as_str().expect("an id"));
    assert_eq!(laptop.ask("DELETE", &path, None).await.0, 204);
    let (error, _) = link.end_within(ENDS_WITHIN).await;
    assert_eq!(error["code"], "session_ended", "{error}");
    in_time(async {
        for node in 1..=3 {
            let here = phone.at(cluster.plain_address(node));
            while here.ask("GET", "/v1/conversations", None).await.0 != 401 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    })
    .await;
    let (status, refused) = phone.refused("GET", "/v1/conversations", None).await;
    assert_eq!((status, &refused["code"]), (401, &json!("session_ended")));
    laptop.granted("GET", "/v1/conversations", None).await;
    // The application signs the phone in again.
    let mut again = claims("app-carol", "phone");
    again["iat"] = json!(now() + 2);
    bearer(&cluster, 3, "app-carol", &token(1, &again))
        .granted("GET", "/v1/conversations", None)
        .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_keys_audiences_and_times_are_refused_and_keys_are_read_again() {
    let cluster = trusting_cluster().await;
    let good = claims("app-dora", "phone");
    let but = |claim: &str, value: Value| {
        let mut claims = good.clone();
        claims[claim] = value;
        claims
    };
    let refused = [
        token(2, &good),
        token(1, &but("iss", json!("https://elsewhere.example"))),
        token(1, &but("aud", json!("somebody else"))),
        token(1, &but("exp", json!(now() - 100))),
        token(1, &but("nbf", json!(now() + 100))),
        token(1, &but("sub", json!(".."))),
    ];
    for (at, token) in refused.iter().enumerate() {
        let node = cluster.plain_address(1 + at as u64 % 3);
        let answer = http::request(node, "GET", "/v1/conversations", Some(token), "").await;
        let answer = answer.expect("the node answers");
        let told = problem(&answer);
        assert_eq!((answer.status, &told["code"]), (401, &json!("unauthenticated")), "{at}");
    }
    // None of them made a user.
    let other = Stranger::arrive(cluster.plain_address(1), "app-watcher").await;
    let (status, _) = other.refused("GET", "/v1/users/app-dora", None).await;
    assert_eq!(status, 404);
    // The application changes its keys.
    std::fs::write(cluster.home(2).join("app.json"), key_set(2)).expect("a writable folder");
    let here = bearer(&cluster, 2, "app-dora", &token(2, &good));
    in_time(async {
        while here.ask("GET", "/v1/conversations", None).await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let old = bearer(&cluster, 2, "app-dora", &token(1, &good));
    assert_eq!(old.refused("GET", "/v1/conversations", None).await.0, 401);
    cluster.stop().await;
}
