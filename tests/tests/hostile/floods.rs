//! Too much of what is allowed once.

use std::time::Duration;

use futures::future::join_all;
use tests::Stranger;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::http::Request;

use crate::process::Process;
use crate::shape::{closes_with, http_2, masked, punished, upgrade};

/// Links that nobody holds are noticed within the 5 s of silence; the machine may be busy.
const GONE_WITHIN: Duration = Duration::from_secs(60);
/// A node that takes no further stream for so long has had enough of this connection.
const NO_MORE_AFTER: Duration = Duration::from_secs(2);
/// The pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

async fn plain(node: &Process) -> TcpStream {
    TcpStream::connect(node.plain()).await.expect("the node listens")
}

/// Pings without end, and pongs that nobody asked for: the first are a flood, the second cost nothing.
pub(crate) async fn pings(node: &Process) {
    let who = Stranger::arrive(node.plain(), "pinger").await;
    let (stream, _) = upgrade(plain(node).await, "text", Some(&who.token), "").await;
    let heard = punished(stream, &masked(0x9, b"are you there?").repeat(50_000)).await;
    assert!(closes_with(&heard, 4429), "pings are a flood");
    let (mut stream, _) = upgrade(plain(node).await, "text", Some(&who.token), "").await;
    stream.write_all(&masked(0xa, b"yes").repeat(50_000)).await.expect("pongs are taken");
}

/// Messages in pieces without end.
pub(crate) async fn fragments(node: &Process) {
    let who = Stranger::arrive(node.plain(), "shredder").await;
    for piece in [&b""[..], b"x"] {
        let (stream, _) = upgrade(plain(node).await, "text", Some(&who.token), "").await;
        let mut first = masked(0x1, piece);
        let mut next = masked(0x0, piece);
        first[0] &= 0x7f;
        next[0] &= 0x7f;
        let heard = punished(stream, &[first, next.repeat(20_000)].concat()).await;
        assert!(closes_with(&heard, 4429), "fragments are a flood");
    }
}

/// Frames of one byte, none of which is one: in binary the first ends the link; in text each is answered, so that who
/// does not read the answers is soon not read any more.
pub(crate) async fn small_frames(node: &Process) {
    let who = Stranger::arrive(node.plain(), "sprinkler").await;
    let (stream, _) = upgrade(plain(node).await, "binary", Some(&who.token), "").await;
    let heard = punished(stream, &masked(0x2, b"x").repeat(20_000)).await;
    assert!(closes_with(&heard, 1002), "a byte is no frame");

    let before = node.memory_mib();
    let (stream, _) = upgrade(plain(node).await, "text", Some(&who.token), "").await;
    let (reader, mut writer) = tokio::io::split(stream);
    let flood = masked(0x1, b"x").repeat(1000);
    let mut taken = 0;
    // Without reading, until the node does not read either.
    while let Ok(Ok(())) = timeout(Duration::from_secs(1), writer.write_all(&flood)).await {
        taken += flood.len();
        if taken > 64 << 20 {
            break;
        }
    }
    assert!(taken <= 64 << 20, "who does not read is not read: {taken} bytes were taken");
    assert!(node.memory_mib() <= before + 64, "what nobody reads does not pile up");
    drop((reader, writer));
}

/// Streams of HTTP/2 that are opened and reset at once (CVE-2023-44487).
pub(crate) async fn streams_that_are_reset(node: &Process) {
    let all = (0..4).map(async |_| {
        let stream = http_2(node).await;
        let (mut client, connection) = h2::client::handshake(stream).await.expect("HTTP/2 begins");
        let connection = tokio::spawn(connection);
        for _ in 0..1_000 {
            let request = Request::builder().uri("https://localhost/v1/presence/alice").body(());
            let ready = timeout(NO_MORE_AFTER, client.clone().ready()).await;
            let Ok(Ok(mut ready)) = ready else { break };
            let Ok((response, _)) = ready.send_request(request.expect("a request"), true) else {
                break;
            };
            drop(response);
            client = ready;
            tokio::task::yield_now().await;
        }
        drop(client);
        connection.abort();
    });
    join_all(all).await;
}

/// Connections, opened and dropped in every state.
pub(crate) async fn connections(node: &Process) {
    let who = Stranger::arrive(node.plain(), "caller").await;
    for _ in 0..5 {
        let all = (0..100).map(async |n| {
            let stream = plain(node).await;
            match n % 3 {
                0 => drop(stream),
                1 => drop(upgrade(stream, "text", None, "").await),
                _ => drop(upgrade(stream, "text", Some(&who.token), "").await),
            }
        });
        join_all(all).await;
    }
    // All of them are gone from the node, too.
    let gone = async {
        while node.metric("synod_links{kind=\"websocket\"} ").await > 3.0 {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    timeout(GONE_WITHIN, gone).await.expect("links that were dropped are gone");
}
