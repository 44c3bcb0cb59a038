//! Tokens of the operator's own application (`auth.issuers`), at three nodes that trust its keys.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use node::{Clock as _, SystemClock};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use serde_json::{Value, json};
use tests::{Cluster, PASSWORD, Shape, Stranger, http, in_time, problem};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

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
        let more = format!(
            "[[auth.issuers]]\nissuer = \"{ISSUER}\"\naudience = \"synod\"\nkeys = \"app.json\"\n"
        );
        add(&home.join("node.toml"), &more);
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

/// Says more in a node's file.
fn add(file: &Path, more: &str) {
    let text = std::fs::read_to_string(file).expect("the harness wrote it");
    std::fs::write(file, text + more).expect("a writable folder");
}

/// A server of keys over TLS: the key of which seed it tells (0: it is out of order), and how often it was asked.
#[derive(Default)]
struct KeyServer {
    seed: AtomicU8,
    asked: AtomicUsize,
}

/// Starts it with the certificate of a node, which names this machine.
async fn serve_keys(home: &Path) -> (Arc<KeyServer>, SocketAddr) {
    let read = |name: &str| std::fs::read(home.join(name)).expect("the harness wrote it");
    let chain = CertificateDer::pem_slice_iter(&read("client.pem")).collect::<Result<_, _>>();
    let key = PrivateKeyDer::from_pem_slice(&read("client.key")).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows them")
        .with_no_client_auth()
        .with_single_cert(chain.expect("PEM"), key)
        .expect("key and certificate");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let server = Arc::new(KeyServer { seed: AtomicU8::new(1), asked: AtomicUsize::new(0) });
    let (acceptor, told) = (TlsAcceptor::from(Arc::new(config)), Arc::clone(&server));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let _ = stream.read_buf(&mut Vec::with_capacity(4096)).await;
            told.asked.fetch_add(1, Ordering::Relaxed);
            let (status, body) = match told.seed.load(Ordering::Relaxed) {
                0 => (503, String::new()),
                seed => (200, key_set(seed).replace("\"app\"", &format!("\"key{seed}\""))),
            };
            let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    (server, address)
}

/// As [`token`], by a key of that name.
fn named_token(seed: u8, claims: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = json!({ "alg": "EdDSA", "kid": format!("key{seed}") });
    let signed = format!("{}.{}", encode(&header), encode(claims));
    let signature = key(seed).sign(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_at_a_url_are_fetched_followed_and_outlive_their_server() {
    let mut cluster = Cluster::prepare(Shape { nodes: 1, shards: 2, ..Shape::default() });
    let home = cluster.home(1);
    let (server, address) = serve_keys(&home).await;
    let more = format!(
        "[auth]\nauthorities = \"../ca.pem\"\n[[auth.issuers]]\nissuer = \"{ISSUER}\"\n\
         keys_url = \"https://{address}/keys.json\"\n"
    );
    add(&home.join("node.toml"), &more);
    cluster.start_node(1);
    cluster.wait_ready(1).await;
    let status = async |seed: u8, user: &str| {
        let token = named_token(seed, &claims(user, "phone"));
        bearer(&cluster, 1, user, &token).ask("GET", "/v1/conversations", None).await.0
    };
    assert_eq!(status(1, "url-anna").await, 200);
    assert_eq!(status(2, "url-anna").await, 401, "a key that nobody announced");
    // The application has another key, and the node finds it when somebody shows it.
    server.seed.store(2, Ordering::Relaxed);
    in_time(async {
        while status(2, "url-anna").await != 200 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    assert_eq!(status(1, "url-anna").await, 401, "the old one is none any more");
    server.seed.store(0, Ordering::Relaxed);
    let asked = server.asked.load(Ordering::Relaxed);
    for _ in 0..50 {
        assert_eq!(status(3, "url-anna").await, 401);
    }
    let more = server.asked.load(Ordering::Relaxed) - asked;
    assert!(more <= 2, "made-up keys made the node ask {more} times");
    assert_eq!(status(2, "url-ben").await, 200, "the last good keys hold");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_says_that_it_is_ready_no_sooner_than_it_takes_clients_in() {
    let mut cluster = Cluster::prepare(Shape { nodes: 1, shards: 2, ..Shape::default() });
    // A file of keys that lets the node wait: nobody writes into the pipe.
    let keys = cluster.home(1).join("keys.json");
    let made = std::process::Command::new("mkfifo").arg(&keys).status().expect("coreutils");
    assert!(made.success(), "a pipe: {made}");
    let more = format!("[[auth.issuers]]\nissuer = \"{ISSUER}\"\nkeys = \"keys.json\"\n");
    add(&cluster.home(1).join("node.toml"), &more);
    cluster.start_node(1);
    let why = async || {
        let answer = http::request(cluster.operations_address(1), "GET", "/readyz", None, "").await;
        answer.map(|answer| (answer.status, answer.json()["missing"].clone()))
    };
    in_time(async {
        while why().await != Some((503, json!(["clients are not served yet"]))) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert!(TcpStream::connect(cluster.plain_address(1)).await.is_err(), "nobody listens yet");
    in_time(tokio::fs::write(&keys, key_set(1))).await.expect("the node reads it");
    cluster.wait_ready(1).await;
    for address in [cluster.plain_address(1), cluster.client_address(1)] {
        TcpStream::connect(address).await.expect("a node that is ready takes clients in");
    }
    cluster.stop().await;
}
