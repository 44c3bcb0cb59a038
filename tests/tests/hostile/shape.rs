//! What is not as it should be: compression, sizes, bombs. Also the smallest WebSocket client that can be wrong.

use std::time::Duration;

use tests::{Stranger, http, in_time, tls};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::process::Process;

/// How long the end of a link that broke a rule may take.
pub(crate) const ENDED_WITHIN: Duration = Duration::from_secs(20);

/// Upgrades a stream to a WebSocket by hand; gives back the answer's head, too.
pub(crate) async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    encoding: &str,
    token: Option<&str>,
    more: &str,
) -> (S, String) {
    let bearer =
        token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    let request = format!(
        "GET /chat?encoding={encoding} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{bearer}{more}\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("room for a head");
    stream.flush().await.expect("room for a head");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(in_time(stream.read_u8()).await.expect("an answer"));
    }
    let head = String::from_utf8(head).expect("a head is text");
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    (stream, head)
}

/// A whole frame as a client masks it, with a mask of zeros.
pub(crate) fn masked(code: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | code];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | u8::try_from(length).expect("small")),
        length @ 126..=65_535 => {
            frame.push(0xfe);
            frame.extend(u16::try_from(length).expect("below 65536").to_be_bytes());
        }
        length => {
            frame.push(0xff);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// Writes what may be more than the other side takes, and reads to its end.
pub(crate) async fn punished(stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> Vec<u8> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut heard = Vec::new();
    let write = async {
        let _ = writer.write_all(bytes).await;
        let _ = writer.flush().await;
    };
    let both = async { tokio::join!(write, reader.read_to_end(&mut heard)) };
    assert!(timeout(ENDED_WITHIN, both).await.is_ok(), "the link is ended");
    heard
}

/// Whether a server's last words close with this code.
pub(crate) fn closes_with(heard: &[u8], code: u16) -> bool {
    let close = [&[0x88, 2][..], &code.to_be_bytes()].concat();
    heard.windows(4).any(|part| part == close)
}

async fn plain(node: &Process) -> tokio::net::TcpStream {
    tokio::net::TcpStream::connect(node.plain()).await.expect("the node listens")
}

/// Compression is offered in every way and never taken up; a compressed frame is a violation.
pub(crate) async fn offers_compression(node: &Process) {
    let who = Stranger::arrive(node.plain(), "presser").await;
    for offer in [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "x-webkit-deflate-frame",
    ] {
        let offer = format!("Sec-WebSocket-Extensions: {offer}\r\n");
        let (stream, head) = upgrade(plain(node).await, "text", Some(&who.token), &offer).await;
        assert!(
            !head.to_ascii_lowercase().contains("sec-websocket-extensions"),
            "declined: {head}"
        );
        // RSV1: a compressed frame (RFC 7692, 6).
        let mut frame = masked(0x1, &[0xaa, 0x56, 0x2a, 0x2d]);
        frame[0] |= 0x40;
        let heard = punished(stream, &frame).await;
        assert!(closes_with(&heard, 1002), "a compressed frame is a violation");
    }
}

/// Heads, frames, messages, bodies and chunks beyond their limits.
pub(crate) async fn sends_what_is_too_large(node: &Process) {
    let who = Stranger::arrive(node.plain(), "giant").await;
    let head = format!("GET /chat HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "a".repeat(20 << 20));
    let heard = punished(plain(node).await, head.as_bytes()).await;
    assert!(heard.is_empty() || heard.starts_with(b"HTTP/1.1 431"), "a head of 20 MiB");

    let (stream, _) = upgrade(plain(node).await, "text", Some(&who.token), "").await;
    let heard = punished(stream, &masked(0x1, &vec![b'x'; (256 << 10) + 1])).await;
    assert!(closes_with(&heard, 1009), "a frame beyond 256 KiB");

    // A length that does not fit anything.
    let (stream, _) = upgrade(plain(node).await, "text", Some(&who.token), "").await;
    let heard = punished(stream, b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0").await;
    assert!(closes_with(&heard, 1009), "a frame of 8 EiB");

    let body = format!("{{\"userId\":\"{}\"}}", "x".repeat(4 << 20));
    let answer = http::request(node.plain(), "POST", "/v1/users", None, &body).await;
    // The node may hang up on what nobody will read.
    assert!(answer.is_none_or(|answer| answer.status == 413), "a body of 4 MiB");
    let promise = "POST /v1/users HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
                   Content-Length: 1099511627776\r\n\r\n";
    let heard =
        punished(plain(node).await, &[promise.as_bytes(), &vec![b' '; 1 << 20]].concat()).await;
    assert!(heard.is_empty() || heard.starts_with(b"HTTP/1.1 413"), "a body of a terabyte");
}

/// Small things that would be large once they are unpacked: nothing here unpacks.
pub(crate) async fn sends_bombs(node: &Process) {
    // A stored gzip of nothing; what counts is that nobody looks into it.
    let gzip = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for coding in ["gzip", "deflate", "br", "zstd"] {
        let head = format!(
            "POST /v1/users HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n",
            gzip.len()
        );
        let heard = punished(plain(node).await, &[head.as_bytes(), &gzip].concat()).await;
        assert!(heard.starts_with(b"HTTP/1.1 4"), "{coding} is not unpacked");
    }
    // JSON that is deeper than a stack.
    let deep = "[".repeat(200_000);
    let answer = http::request(node.plain(), "POST", "/v1/users", None, &deep).await;
    assert_eq!(answer.map(|answer| answer.status), Some(400), "JSON of 200,000 levels");
    let who = Stranger::arrive(node.plain(), "digger").await;
    let mut chat = who.chat().await;
    chat.raw(&"{\"payload\":[".repeat(10_000)).await;
    let refused = chat.next().await;
    assert!(refused["error"].is_object(), "{refused}");
    chat.stored("digger", "after", "still here").await;
}

/// A TLS stream that speaks HTTP/2.
pub(crate) async fn http_2(node: &Process) -> impl AsyncRead + AsyncWrite + Unpin + Send + use<> {
    tls::connect(node.address(), &node.ca_pem(), "h2", None).await.expect("TLS")
}
