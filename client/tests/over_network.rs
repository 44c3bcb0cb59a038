//! The client over the real transports of this machine, against scripted nodes behind real client planes: what links in
//! memory cannot show, above all how a client gets its link and notices that it is gone.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use chat::{DeviceId, UserId};
use client::{Client, Config, Credentials, Incoming, SendError, To, Transport};
use proto::frame::{ClientFrame, ServerFrame, decode_client_frame, encode_server_frame};
use proto::frames;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use transport::authority::Authority;
use transport::client_plane::{self, Handle};
use transport::{Link, ServerIdentity};

/// A test that waits longer has failed.
const DEADLINE: Duration = Duration::from_secs(20);

/// Message ids in the order in which the cluster stored them.
type Stored = Arc<Mutex<Vec<String>>>;

fn bob() -> To {
    To::User(UserId::parse("bob").expect("legal"))
}

fn alice(access: &str) -> Credentials {
    Credentials {
        user: UserId::parse("alice").expect("legal"),
        device: DeviceId(1),
        access: access.into(),
        refresh: "none".into(),
        expires_at: None,
    }
}

struct Node {
    handle: Handle,
    stop: CancellationToken,
}

async fn node(authority: &Authority, stored: &Stored) -> Node {
    let issued = authority.issue_client_plane(&[]).expect("issued");
    let (chain, key) = (issued.certificate_pem.as_bytes(), issued.key_pem.as_bytes());
    let config = client_plane::Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        plain_listen: None,
        tls: ServerIdentity::from_pem(chain, key).expect("usable"),
        limits: Default::default(),
    };
    let stored = Arc::clone(stored);
    let on_link = move |link: Link| -> futures::future::BoxFuture<'static, ()> {
        Box::pin(serve(link, Arc::clone(&stored)))
    };
    let stop = CancellationToken::new();
    let served =
        client_plane::serve(config, Default::default(), Arc::new(on_link), stop.clone()).await;
    Node { handle: served.expect("a free port"), stop }
}

async fn serve(mut link: Link, stored: Stored) {
    while let Ok(Some(frame)) = link.reader.next().await {
        let answer = match decode_client_frame(frame).expect("a frame") {
            ClientFrame::Hello(hello) if hello.token == "good" => {
                ServerFrame::Welcome(frames::Welcome { node: 1, ..Default::default() })
            }
            ClientFrame::Hello(_) => {
                let problem = proto::Problem::of(proto::ProblemCode::Unauthenticated);
                ServerFrame::Problem(problem.into())
            }
            ClientFrame::Send(send) => ServerFrame::Sent(store(&stored, send)),
            ClientFrame::Ping(ping) => ServerFrame::Pong(frames::Pong { tag: ping.tag }),
            other => panic!("not in this test: {other:?}"),
        };
        let mut frames = VecDeque::from([encode_server_frame(answer)]);
        if link.writer.send(&mut frames).await.is_err() {
            return;
        }
    }
}

fn store(stored: &Stored, send: frames::Send) -> frames::Sent {
    let mut stored = stored.lock().expect("nobody panics with it");
    let place = stored.iter().position(|id| *id == send.message_id).unwrap_or_else(|| {
        stored.push(send.message_id.clone());
        stored.len() - 1
    });
    let seq = place as u64 + 1;
    let result = frames::Stored { seq, at_ms: 1, duplicate: false, order: seq };
    frames::Sent {
        tag: send.tag,
        conversation: Bytes::new(),
        message_id: send.message_id,
        result: Some(frames::sent::Result::Stored(result)),
    }
}

async fn survives_the_loss_of_a_node(transport: Transport) {
    let (authority, _) = Authority::create("test").expect("created");
    let stored = Stored::default();
    let (first, second) = (node(&authority, &stored).await, node(&authority, &stored).await);
    let nodes = vec![first.handle.address(), second.handle.address()];
    let ca_pem = authority.certificate_pem().as_bytes().to_vec();
    let config = Config { transport, ..Config::new(nodes, ca_pem) };
    let (client, mut inbox) = Client::connect(config, alice("good")).expect("usable");
    assert_eq!(inbox.next().await, Some(Incoming::LinkUp { node: 1 }));
    for at in 1..=20 {
        let receipt = timeout(DEADLINE, client.send(bob(), "before")).await.expect("in time");
        assert_eq!(receipt.expect("stored").seq.0, at);
    }
    first.stop.cancel();
    for at in 21..=40 {
        let receipt = timeout(DEADLINE, client.send(bob(), "after")).await.expect("in time");
        assert_eq!(receipt.expect("stored").seq.0, at);
    }
    assert_eq!(stored.lock().expect("nobody panics with it").len(), 40);
    client.stop().await;
    second.stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_over_quic_survives_the_loss_of_a_node() {
    survives_the_loss_of_a_node(Transport::Quic).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_over_websocket_survives_the_loss_of_a_node() {
    survives_the_loss_of_a_node(Transport::WebSocket).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_token_without_rest_leaves_the_send_undone_and_honest() {
    let (authority, _) = Authority::create("test").expect("created");
    let stored = Stored::default();
    let node = node(&authority, &stored).await;
    let ca_pem = authority.certificate_pem().as_bytes().to_vec();
    let config = Config {
        send_patience: Duration::from_secs(2),
        ..Config::new(vec![node.handle.address()], ca_pem)
    };
    let (client, _inbox) = Client::connect(config, alice("bad")).expect("usable");
    let sent = timeout(DEADLINE, client.send(bob(), "x")).await.expect("in time");
    assert!(
        matches!(sent, Err(SendError::Unreachable | SendError::Stopped)),
        "nothing was sent: {sent:?}"
    );
    assert!(stored.lock().expect("nobody panics with it").is_empty());
    node.stop.cancel();
}

#[tokio::test]
async fn a_configuration_that_cannot_work_is_refused_at_once() {
    let config = Config::new(vec![SocketAddr::from(([127, 0, 0, 1], 1))], b"no PEM".to_vec());
    assert!(Client::connect(config, alice("good")).is_err());
    let (authority, _) = Authority::create("test").expect("created");
    let ca_pem = authority.certificate_pem().as_bytes().to_vec();
    assert!(Client::connect(Config::new(Vec::new(), ca_pem), alice("good")).is_err());
}
