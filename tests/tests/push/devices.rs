//! Devices of Apple and Google, through services that record what they are asked: APNs over HTTP/2 with TLS, FCM over HTTP.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as BASE64};
use bytes::Bytes;
use ring::rand::SystemRandom;
use ring::signature::{
    self, ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    RSA_PKCS1_2048_8192_SHA256, RsaKeyPair,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use serde_json::{Value, json};
use tests::{Cluster, Shape, Stranger, in_time};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_tungstenite::tungstenite::http::{HeaderValue, Response};

use super::receiver::{Asked, Receiver, Reply};

/// A service account, and a key that was made for this test.
const ACCOUNT: &str = include_str!("service-account.json");

/// Header and claims of a token, and what was signed with what.
struct Token {
    header: Value,
    claims: Value,
    signed: Vec<u8>,
    signature: Vec<u8>,
}

impl Token {
    fn of(asked: &Asked) -> Self {
        let token = asked.header("authorization").strip_prefix("bearer ").expect("a token");
        let (signed, signature) = token.rsplit_once('.').expect("three parts");
        let (header, claims) = signed.split_once('.').expect("three parts");
        let read = |part: &str| BASE64.decode(part).expect("base64url");
        let json = |part: &str| serde_json::from_slice(&read(part)).expect("JSON");
        let (signature, signed) = (read(signature), signed.as_bytes().to_vec());
        Self { header: json(header), claims: json(claims), signed, signature }
    }
}

/// Apple's service: HTTP/2 over TLS, answers what it is told, once each, then 200.
struct Apple {
    address: SocketAddr,
    heard: UnboundedReceiver<Asked>,
    script: UnboundedSender<(u16, &'static str)>,
}

impl Apple {
    async fn start(home: &Path) -> Self {
        let chain = CertificateDer::pem_file_iter(home.join("client.pem")).expect("a file");
        let chain = chain.collect::<Result<Vec<_>, _>>().expect("certificates");
        let key = PrivateKeyDer::from_pem_file(home.join("client.key")).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("a version")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("an identity");
        config.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (tell, heard) = unbounded_channel();
        let (script, told) = unbounded_channel();
        let told = Arc::new(tokio::sync::Mutex::new(told));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, tell, told) = (acceptor.clone(), tell.clone(), Arc::clone(&told));
                tokio::spawn(async move {
                    let _ = serve(acceptor, stream, tell, told).await;
                });
            }
        });
        Self { address, heard, script }
    }

    async fn next(&mut self) -> Asked {
        in_time(self.heard.recv()).await.expect("the service runs")
    }
}

type Script = Arc<tokio::sync::Mutex<UnboundedReceiver<(u16, &'static str)>>>;

/// One connection; `None` when it ends.
async fn serve(
    acceptor: tokio_rustls::TlsAcceptor,
    stream: TcpStream,
    tell: UnboundedSender<Asked>,
    script: Script,
) -> Option<()> {
    let stream = acceptor.accept(stream).await.ok()?;
    let mut connection = h2::server::handshake(stream).await.ok()?;
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let (tell, script) = (tell.clone(), Arc::clone(&script));
        tokio::spawn(async move {
            let (head, mut stream) = request.into_parts();
            let mut body = Vec::new();
            while let Some(Ok(part)) = stream.data().await {
                let _ = stream.flow_control().release_capacity(part.len());
                body.extend_from_slice(&part);
            }
            let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
            let headers =
                head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
            let path = head.uri.path().to_owned();
            let _ = tell.send(Asked { path, headers, body });
            let (status, reason) = script.lock().await.try_recv().unwrap_or((200, ""));
            let answer = Response::builder().status(status).body(()).expect("a status");
            if let Ok(mut send) = respond.send_response(answer, false) {
                let _ = send.send_data(Bytes::from_static(reason.as_bytes()), true);
            }
        });
    }
    None
}

/// A key as Apple gives it: the file's text, and the public half.
fn apple_key() -> (String, Vec<u8>) {
    let random = SystemRandom::new();
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
    let key = key.expect("entropy");
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_ref(), &random);
    let public = pair.expect("a good key").public_key().as_ref().to_vec();
    let text = STANDARD.encode(key.as_ref());
    (format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n"), public)
}

/// Three nodes whose files name both services.
async fn cluster(fcm: &Receiver) -> (Cluster, Apple, Vec<u8>) {
    let mut cluster = Cluster::prepare(Shape { shards: 2, ..Shape::default() });
    let apple = Apple::start(&cluster.home(1)).await;
    let (key, public) = apple_key();
    for node in 1..=3 {
        let home = cluster.home(node);
        std::fs::write(home.join("apple.p8"), &key).expect("writable folder");
        std::fs::write(home.join("google.json"), ACCOUNT).expect("writable folder");
        let file = home.join("node.toml");
        let mut text = std::fs::read_to_string(&file).expect("the harness wrote it");
        text.push_str(&format!(
            "[push.apns]\nkey = \"apple.p8\"\nkey_id = \"KEY\"\nteam = \"TEAM\"\n\
             topic = \"org.example.app\"\nurl = \"https://{}\"\n\
             [push.fcm]\naccount = \"google.json\"\nurl = \"{}\"\n",
            apple.address,
            fcm.url(""),
        ));
        std::fs::write(file, text).expect("writable folder");
        cluster.start_node(node);
    }
    for node in 1..=3 {
        cluster.wait_ready(node).await;
    }
    (cluster, apple, public)
}

async fn register(user: &Stranger, kind: &str, token: &str) {
    let body = json!({ "kind": kind, "token": token });
    user.granted("POST", "/v1/push", Some(&body)).await;
}

/// Whether everything up to this number was taken everywhere.
async fn all_done(user: &Stranger, number: u64) -> bool {
    let list = user.granted("GET", "/v1/push", None).await;
    let list = list["registrations"].as_array().expect("a list").clone();
    list.iter().all(|line| line["done"] == json!(number))
}

async fn until_registrations(user: &Stranger, count: usize) {
    in_time(async {
        loop {
            let list = user.granted("GET", "/v1/push", None).await;
            if list["registrations"].as_array().is_some_and(|all| all.len() == count) {
                return;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_of_apple_and_google_are_told_as_their_services_want_it() {
    let mut google = Receiver::start().await;
    let (cluster, mut apple, apple_public) = cluster(&google).await;
    let anna = Stranger::arrive(cluster.plain_address(1), "dev-anna").await;
    let ben = Stranger::arrive(cluster.plain_address(2), "dev-ben").await;
    register(&ben, "apns", "a0b1c2").await;
    register(&ben, "fcm", "d3:e4-f5_g6").await;
    let mut chat = anna.chat().await;
    let place = chat.stored("dev-ben", "m1", "nobody else may read this").await;
    let conversation = &place["conversationId"];

    let asked = apple.next().await;
    assert_eq!(asked.path, "/3/device/a0b1c2");
    assert_eq!(asked.header("apns-topic"), "org.example.app");
    assert_eq!(asked.header("apns-push-type"), "alert");
    let body = asked.json();
    assert_eq!((&body["conversationId"], &body["sequence"]), (conversation, &json!(1)));
    assert_eq!(body["aps"]["mutable-content"], 1, "{body}");
    let token = Token::of(&asked);
    assert_eq!(token.header, json!({ "alg": "ES256", "kid": "KEY" }));
    assert_eq!(token.claims["iss"], "TEAM");
    let key = signature::UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &apple_public);
    key.verify(&token.signed, &token.signature).expect("signed with Apple's key");

    let asked = google.next().await;
    assert_eq!(asked.path, "/v1/projects/test-project/messages:send");
    let message = &asked.json()["message"];
    assert_eq!(message["token"], "d3:e4-f5_g6");
    let data = json!({ "conversationId": conversation, "sequence": "1", "unread": "1" });
    assert_eq!(message["data"], data, "texts alone");
    let token = Token::of(&asked);
    assert_eq!((&token.header["alg"], &token.header["kid"]), (&json!("RS256"), &json!("key-1")));
    assert_eq!(token.claims["aud"], json!(google.url("/")));
    let account: Value = serde_json::from_str(ACCOUNT).expect("JSON");
    let lines = account["private_key"].as_str().expect("PEM").lines();
    let key: String = lines.filter(|line| !line.starts_with("-----")).collect();
    let pair = RsaKeyPair::from_pkcs8(&STANDARD.decode(key).expect("base64")).expect("a key");
    let key = signature::UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public());
    key.verify(&token.signed, &token.signature).expect("signed with the account's key");

    in_time(async { while !all_done(&ben, 1).await {} }).await;

    // A fault of the service is tried again; what it says of the device ends the registration.
    apple.script.send((503, "{}")).expect("it listens");
    apple.script.send((400, r#"{"reason":"BadDeviceToken"}"#)).expect("it listens");
    chat.stored("dev-ben", "m2", "text").await;
    for _ in 0..2 {
        assert_eq!(apple.next().await.json()["sequence"], 2);
    }
    until_registrations(&ben, 1).await;
    assert_eq!(google.next().await.json()["message"]["data"]["sequence"], "2");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_has_what_it_was_to_be_told_is_left_alone() {
    let mut google = Receiver::start().await;
    let (cluster, _apple, _) = cluster(&google).await;
    let anna = Stranger::arrive(cluster.plain_address(1), "left-anna").await;
    let ben = Stranger::arrive(cluster.plain_address(2), "left-ben").await;
    register(&ben, "fcm", "x").await;
    // The service is silent; until that is noticed, the device has read what it was about.
    google.script(&[Reply::Silence]).await;
    let mut chat = anna.chat().await;
    let place = chat.stored("left-ben", "m1", "text").await;
    google.next().await;
    let mut bens = ben.chat().await;
    bens.confirm(&place, "read").await;
    chat.until(|item| item["read"] == json!(true)).await;
    bens.leave().await;
    in_time(async { while !all_done(&ben, 1).await {} }).await;
    chat.stored("left-ben", "m2", "text").await;
    let told = google.next().await.json();
    assert_eq!(told["message"]["data"]["sequence"], "2", "and the first not once more");
    cluster.stop().await;
}
