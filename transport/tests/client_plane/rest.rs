//! REST through the plane: requests, problems, keep-alive, and the plain listener.

use axum::{
    Json, Router,
    extract::ConnectInfo,
    http::HeaderMap,
    routing::{get, post},
};
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::Message;
use transport::{
    DialError, Encoding,
    client_plane::{self, Limits},
    dial,
    http::{Client, Method},
};

use crate::support::{soon, start, start_with};

fn router() -> Router {
    Router::new()
        .route(
            "/mirror",
            post(|headers: HeaderMap, body: Json<Value>| async move {
                let bearer = headers["authorization"].to_str().unwrap().to_owned();
                (axum::http::StatusCode::CREATED, Json(json!({"bearer": bearer, "body": body.0})))
            }),
        )
        .route(
            "/port",
            get(|peer: ConnectInfo<SocketAddr>| async move { peer.0.port().to_string() }),
        )
        .route("/large", get(|| async { vec![0_u8; (16 << 20) + 1] }))
}

#[tokio::test]
async fn a_request_carries_token_and_json_both_ways() {
    let server = start_with(Limits::default(), router()).await;
    let client = Client::new(server.tls.clone());
    let body = Some(Bytes::from(r#"{"userId":"alice"}"#));
    let answer =
        client.request(Method::POST, server.address, "/mirror", Some("t0ken"), body).await.unwrap();
    assert_eq!(answer.status, 201);
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(answer, json!({"bearer": "Bearer t0ken", "body": {"userId": "alice"}}));
}

#[tokio::test]
async fn connections_are_kept_between_requests() {
    let server = start_with(Limits::default(), router()).await;
    let client = Client::new(server.tls.clone());
    let mut ports = Vec::new();
    for _ in 0..3 {
        let answer =
            client.request(Method::GET, server.address, "/port", None, None).await.unwrap();
        ports.push(answer.body);
    }
    assert!(ports.windows(2).all(|pair| pair[0] == pair[1]), "{ports:?}");
}

#[tokio::test]
async fn a_connection_that_ended_while_idle_is_replaced() {
    let limits = Limits { header: std::time::Duration::from_millis(200), ..Limits::default() };
    let server = start_with(limits, router()).await;
    let client = Client::new(server.tls.clone());
    let port = || async {
        client.request(Method::GET, server.address, "/port", None, None).await.unwrap().body
    };
    let first = port().await;
    // The server closes the idle connection; some request after that finds another port.
    soon("another connection", async {
        while port().await == first {
            tokio::time::sleep(std::time::Duration::from_millis(250)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_answer_beyond_the_limit_is_refused() {
    let server = start_with(Limits::default(), router()).await;
    let client = Client::new(server.tls.clone());
    let answer = client.request(Method::GET, server.address, "/large", None, None).await;
    assert!(matches!(answer, Err(DialError::Interrupted(_))), "{:?}", answer.map(|a| a.status));
}

#[tokio::test]
async fn nobody_listening_is_unreachable() {
    let server = start().await;
    let address = server.address;
    server.stop.cancel();
    soon("the end of the plane", server.handle.stopped()).await;
    let client = Client::new(server.tls.clone());
    let answer = client.request(Method::GET, address, "/", None, None).await.unwrap_err();
    assert!(matches!(answer, DialError::Unreachable { .. }), "{answer:?}");
    assert_eq!(answer.certainty(), transport::Certainty::Definite);
    let link = dial::websocket(&server.tls, address, Encoding::Text, None).await.unwrap_err();
    assert!(matches!(link, DialError::Unreachable { .. }), "{link:?}");
}

#[tokio::test]
async fn chat_without_a_proper_handshake_is_a_problem() {
    let mut server = start().await;
    let client = Client::new(server.tls.clone());
    for path in ["/chat", "/chat?encoding=xml", "/chat?encoding=text&encoding=BINARY"] {
        let answer = client.request(Method::GET, server.address, path, None, None).await.unwrap();
        assert_eq!(answer.status, 400, "{path}");
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        let problem: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(problem["code"], "invalid_request");
        assert_eq!(problem["retryable"], false);
        assert_eq!(problem["field"] == "encoding", path != "/chat");
    }
    assert!(server.nothing_began());
}

#[tokio::test]
async fn plain_http_serves_the_same_on_loopback() {
    let server = start_with(Limits::default(), router()).await;
    let mut stream = TcpStream::connect(server.plain).await.unwrap();
    stream.write_all(b"GET /port HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    soon("an answer", stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    let stream = TcpStream::connect(server.plain).await.unwrap();
    let url = format!("ws://{}/chat", server.plain);
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    socket.send(Message::text("plain")).await.unwrap();
    let echoed = soon("an echo", socket.next()).await.unwrap().unwrap();
    assert_eq!(echoed, Message::text("plain"));
}

#[tokio::test]
async fn plain_http_is_not_offered_to_others() {
    let (authority, _) = transport::authority::Authority::create("test").unwrap();
    let issued = authority.issue_client_plane(&[]).unwrap();
    let tls = transport::ServerIdentity::from_pem(
        issued.certificate_pem.as_bytes(),
        issued.key_pem.as_bytes(),
    )
    .unwrap();
    let config = client_plane::Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        plain_listen: Some("0.0.0.0:0".parse().unwrap()),
        tls,
        limits: Limits::default(),
    };
    let on_link: transport::OnLink = std::sync::Arc::new(|_| Box::pin(async {}));
    let refused = client_plane::serve(config, Router::new(), on_link, Default::default()).await;
    assert!(matches!(refused, Err(client_plane::Error::PlainNotLoopback(_))), "{refused:?}");
}
