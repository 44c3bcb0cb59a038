//! Those who take their time: each phase of a connection has a deadline, and whoever passes it is ended.

use std::time::Duration;

use futures::future::join_all;
use serde_json::json;
use tests::{Stranger, tls};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use crate::process::Process;
use crate::shape::{masked, upgrade};

/// How many of each kind.
const MANY: usize = 16;
/// The longest deadline of any phase is 10 s; whoever is still there after this was forgotten.
const ENDED_WITHIN: Duration = Duration::from_secs(40);
/// Between two drops.
const DRIP: Duration = Duration::from_millis(200);

/// Waits for the end of a stream that says nothing more to us.
async fn ended(what: &str, mut stream: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut heard = Vec::new();
    let end = timeout(ENDED_WITHIN, stream.read_to_end(&mut heard)).await;
    assert!(end.is_ok(), "{what} is ended");
    heard
}

/// Writes one byte after the other until the other side has enough.
async fn dripped(what: &str, stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> Vec<u8> {
    let (reader, mut writer) = tokio::io::split(stream);
    let drip = async {
        for byte in bytes.iter().cycle() {
            if writer.write_all(&[*byte]).await.is_err() || writer.flush().await.is_err() {
                break;
            }
            sleep(DRIP).await;
        }
        std::future::pending().await
    };
    tokio::select! {
        heard = ended(what, reader) => heard,
        never = drip => never,
    }
}

async fn connected(node: &Process) -> TcpStream {
    TcpStream::connect(node.address()).await.expect("the node listens")
}

async fn secured(node: &Process) -> impl AsyncRead + AsyncWrite + Unpin + use<> {
    tls::connect(node.address(), &node.ca_pem(), "http/1.1", None).await.expect("TLS")
}

/// A connection and nothing else.
pub(crate) async fn says_nothing(node: &Process) {
    let all = (0..MANY).map(async |_| ended("a silent connection", connected(node).await).await);
    join_all(all).await;
}

/// A handshake, one byte after the other.
pub(crate) async fn drips_a_handshake(node: &Process) {
    // The head of a ClientHello that promises more than it will ever bring.
    let hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[0x5a; 500]].concat();
    let all = (0..MANY)
        .map(async |_| dripped("a dripped handshake", connected(node).await, &hello).await);
    join_all(all).await;
}

/// A handshake and nothing after it.
pub(crate) async fn says_nothing_after_tls(node: &Process) {
    let all = (0..MANY).map(async |_| ended("silence after TLS", secured(node).await).await);
    join_all(all).await;
}

/// The head of a request, one byte after the other.
pub(crate) async fn drips_a_head(node: &Process) {
    let head = b"GET /v1/conversations HTTP/1.1\r\nHost: localhost\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    let all = (0..MANY).map(async |_| dripped("a dripped head", secured(node).await, head).await);
    join_all(all).await;
}

/// A body that never ends, and one that comes by the byte.
pub(crate) async fn stalls_in_a_body(node: &Process) {
    let head = "POST /v1/users HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                Content-Length: 4000\r\n\r\n{\"userId\":";
    let stall = (0..MANY).map(async |_| {
        let mut stream = secured(node).await;
        stream.write_all(head.as_bytes()).await.expect("room for a head");
        ended("a body that stalls", stream).await
    });
    let drip = (0..MANY).map(async |_| {
        let mut stream = secured(node).await;
        stream.write_all(head.as_bytes()).await.expect("room for a head");
        dripped("a body by the byte", stream, b" ").await
    });
    tokio::join!(join_all(stall), join_all(drip));
}

/// A WebSocket that drips a frame instead of saying who it is: ended with the code for that.
pub(crate) async fn drips_frames_without_a_token(node: &Process) {
    let all = (0..MANY).map(async |_| {
        let stream = upgrade(secured(node).await, "text", None, "").await.0;
        // A text frame of 60,000 bytes, most of which never come.
        let heard =
            dripped("a frame by the byte", stream, &[0x81, 0xfe, 0xea, 0x60, 0, 0, 0, 0, b'{'])
                .await;
        assert!(close_code(&heard) == Some(4401), "ended for want of a token: {heard:?}");
    });
    join_all(all).await;
}

/// Links that say who they are and then answer no ping: 4408.
pub(crate) async fn never_answers(node: &Process) {
    let who = Stranger::arrive(node.plain(), "mute").await;
    let all = (0..MANY).map(async |_| {
        let stream = upgrade(secured(node).await, "text", Some(&who.token), "").await.0;
        let heard = ended("a link without a sign of life", stream).await;
        assert_eq!(close_code(&heard), Some(4408), "ended as silent");
    });
    join_all(all).await;
}

/// Links that never read what they are sent, with the smallest window there is, while megabytes are waiting for them.
pub(crate) async fn never_reads(node: &Process) {
    const SINKS: usize = 8;
    const MESSAGES: usize = 40;
    let sink = Stranger::arrive(node.plain(), "sink").await;
    let flood = Stranger::arrive(node.plain(), "flood").await;
    let mut streams = Vec::new();
    for _ in 0..SINKS {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(1024).expect("a small window");
        let stream = socket.connect(node.plain()).await.expect("the node listens");
        streams.push(upgrade(stream, "text", Some(&sink.token), "").await.0);
    }
    // Each would be owed all of it.
    let mut chat = flood.chat().await;
    let text = "x".repeat(60 << 10);
    for n in 0..MESSAGES {
        chat.stored("sink", &format!("big-{n}"), &text).await;
    }
    // Alive otherwise: they go on asking, and do not read the answers.
    let all = streams.into_iter().map(async |stream| {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let ping = masked(0x9, b"");
        let gone = async {
            while writer.write_all(&ping).await.is_ok() && writer.flush().await.is_ok() {
                sleep(DRIP * 5).await;
            }
        };
        assert!(timeout(ENDED_WITHIN, gone).await.is_ok(), "who never reads is ended");
        let mut rest = Vec::new();
        let _ = timeout(ENDED_WITHIN, reader.read_to_end(&mut rest)).await;
        rest.len()
    });
    let taken: usize = join_all(all).await.into_iter().sum();
    let owed = SINKS * MESSAGES * text.len();
    assert!(taken < owed, "{taken} of {owed} bytes were forced on those who do not read");
    // What they did not take is not lost: it waits for a link that reads.
    let history = sink.granted("GET", "/messages/flood?limit=100", None).await;
    assert_eq!(tests::items(&history).len(), MESSAGES, "{}", json!("kept"));
}

/// The code of the last close frame in what a server said.
fn close_code(heard: &[u8]) -> Option<u16> {
    let at = heard.len().checked_sub(4)?;
    let last = &heard[at..];
    (last[..2] == [0x88, 2]).then(|| u16::from_be_bytes([last[2], last[3]]))
}
