//! Peers that break the rules: each ends with a typed error, and never takes the plane with it.

use std::sync::Arc;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};
use transport::{
    ClientTls, DialError, Encoding, LinkError, authority::Authority, client_plane::Limits, dial,
    http,
};

use crate::support::{Server, frames, soon, start, start_limited, stranger, upgraded};

/// Sends raw bytes after a handshake; gives the close code that comes back.
async fn punished(server: &mut Server, bytes: &[u8], expected: LinkError) -> u16 {
    let mut stream = upgraded(server, "text").await;
    stream.write_all(bytes).await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = Vec::new();
    let _ = soon("the end of the stream", stream.read_to_end(&mut answer)).await;
    drop(stream);
    assert_eq!(server.ended().await, Err(expected));
    assert_eq!(answer[..2], [0x88, 2], "a close frame and nothing else");
    u16::from_be_bytes([answer[2], answer[3]])
}

#[tokio::test]
async fn what_is_not_websocket_ends_the_link_with_a_reason() {
    let mut server = start().await;
    let protocol = |what| LinkError::Protocol(what);
    let cases: [(&[u8], LinkError, u16); 9] = [
        (b"\x81\x05hello", protocol("unmasked frame"), 1002),
        (b"GET / HTTP/1.1\r\n\r\n", protocol("opcode"), 1002),
        (b"\xc1\x80\0\0\0\0", protocol("reserved bits"), 1002),
        (b"\x83\x80\0\0\0\0", protocol("opcode"), 1002),
        (b"\x09\x80\0\0\0\0", protocol("control frame"), 1002),
        (b"\x80\x80\0\0\0\0", protocol("continuation of nothing"), 1002),
        (b"\x82\x80\0\0\0\0", protocol("message of the other encoding"), 1002),
        (b"\x81\x82\0\0\0\0\xc3\x28", LinkError::NotText, 1007),
        (b"\x81\xff\0\0\0\0\0\x04\0\x01\0\0\0\0", LinkError::TooLarge { limit: 256 << 10 }, 1009),
    ];
    for (bytes, expected, code) in cases {
        assert_eq!(punished(&mut server, bytes, expected).await, code);
    }
}

#[tokio::test]
async fn a_message_too_large_in_small_frames_is_noticed() {
    let mut server = start().await;
    let mut socket = stranger(&server, "binary").await;
    let piece = Bytes::from(vec![0; 200_000]);
    for n in 0..6 {
        let data = if n == 0 { Data::Binary } else { Data::Continue };
        let frame = Frame::message(piece.clone(), OpCode::Data(data), false);
        // The plane may have hung up before the last one.
        let _ = socket.send(Message::Frame(frame)).await;
    }
    assert_eq!(server.ended().await, Err(LinkError::TooLarge { limit: 1 << 20 }));
}

#[tokio::test]
async fn fragments_without_end_are_a_flood() {
    let mut server = start().await;
    let mut stream = upgraded(&server, "text").await;
    let mut bytes = b"\x01\x80\0\0\0\0".to_vec();
    for _ in 0..1024 {
        bytes.extend_from_slice(b"\0\x80\0\0\0\0");
    }
    stream.write_all(&bytes).await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(server.ended().await, Err(LinkError::Flood("fragments")));
}

#[tokio::test]
async fn pings_without_end_are_a_flood() {
    let mut server = start().await;
    let mut stream = upgraded(&server, "text").await;
    stream.write_all(&b"\x89\x80\0\0\0\0".repeat(1000)).await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(server.ended().await, Err(LinkError::Flood("pings")));
}

#[tokio::test]
async fn a_websocket_cut_inside_a_frame_is_lost() {
    let mut server = start().await;
    let mut stream = upgraded(&server, "text").await;
    stream.write_all(b"\x81\x85\0\0\0\0hel").await.unwrap();
    stream.shutdown().await.unwrap();
    assert!(matches!(server.ended().await, Err(LinkError::Lost(what)) if what.contains("inside")));
}

/// A QUIC connection of a stranger with this protocol.
async fn stranger_quic(server: &Server, alpn: &[u8]) -> (quinn::Endpoint, quinn::Connection) {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(server.ca_pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap()));
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let connection =
        endpoint.connect_with(config, server.address, "localhost").unwrap().await.unwrap();
    (endpoint, connection)
}

#[tokio::test]
async fn a_quic_stream_that_ends_inside_a_frame_is_lost() {
    let mut server = start().await;
    let (_endpoint, connection) = stranger_quic(&server, b"synod/1").await;
    let (mut send, _receive) = connection.open_bi().await.unwrap();
    send.write_all(b"\0\0\0\x05hel").await.unwrap();
    send.finish().unwrap();
    assert!(matches!(server.ended().await, Err(LinkError::Lost(what)) if what.contains("inside")));
}

#[tokio::test]
async fn a_quic_frame_beyond_the_limit_is_refused_by_its_length() {
    let mut server = start().await;
    let (_endpoint, connection) = stranger_quic(&server, b"synod/1").await;
    let (mut send, _receive) = connection.open_bi().await.unwrap();
    send.write_all(b"\0\x10\0\x01").await.unwrap();
    assert_eq!(server.ended().await, Err(LinkError::TooLarge { limit: 1 << 20 }));
    let end = soon("the close", connection.closed()).await;
    assert!(end.to_string().contains("1009"), "{end}");
}

#[tokio::test]
async fn a_client_may_not_open_streams_without_end() {
    let server = start().await;
    let (_endpoint, connection) = stranger_quic(&server, b"synod/1").await;
    let (_send, _receive) = connection.open_bi().await.unwrap();
    let second = tokio::time::timeout(std::time::Duration::from_millis(200), connection.open_bi());
    assert!(second.await.is_err(), "a second stream has no credit");
}

#[tokio::test]
async fn http_3_is_recognised_and_not_served() {
    let mut server = start().await;
    let (_endpoint, connection) = stranger_quic(&server, b"h3").await;
    let end = soon("the close", connection.closed()).await;
    assert!(end.to_string().contains("4501"), "{end}");
    assert!(server.nothing_began());
}

#[tokio::test]
async fn a_huge_header_is_refused() {
    let mut server = start().await;
    let mut stream = crate::support::tls(&server, &["http/1.1"]).await;
    let head = format!("GET /chat HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n", "a".repeat(1 << 20));
    // The plane may hang up before it was all sent.
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.flush().await;
    let mut answer = Vec::new();
    let _ = soon("an end", stream.read_to_end(&mut answer)).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert!(server.nothing_began());
}

#[tokio::test]
async fn a_wrong_authority_is_not_trusted() {
    let server = start().await;
    let (other, _) = Authority::create("other").unwrap();
    let tls = ClientTls::from_ca_pem(other.certificate_pem().as_bytes()).unwrap();
    let quic = dial::quic(&tls, server.address).await.unwrap_err();
    assert!(matches!(quic, DialError::Untrusted { .. }), "{quic:?}");
    let websocket = dial::websocket(&tls, server.address, Encoding::Text, None).await.unwrap_err();
    assert!(matches!(websocket, DialError::Untrusted { .. }), "{websocket:?}");
    let client = http::Client::new(tls);
    let rest =
        client.request(http::Method::GET, server.address, "/", None, None).await.unwrap_err();
    assert!(matches!(rest, DialError::Untrusted { .. }), "{rest:?}");
}

#[tokio::test]
async fn connections_beyond_the_cap_are_refused_until_one_ends() {
    let limits = Limits { connections_max: 2, ..Limits::default() };
    let mut server = start_limited(limits).await;
    let mut first = dial::quic(&server.tls, server.address).await.unwrap();
    first.writer.send(&mut frames(["hello"])).await.unwrap();
    let second = dial::websocket(&server.tls, server.address, Encoding::Text, None).await.unwrap();
    server.began().await;
    server.began().await;
    let third = dial::quic(&server.tls, server.address).await.unwrap_err();
    assert!(matches!(third, DialError::Unreachable { .. }), "{third:?}");
    let third = dial::websocket(&server.tls, server.address, Encoding::Text, None).await;
    assert!(matches!(third, Err(DialError::Unreachable { .. })), "{third:?}");
    drop(second);
    server.ended().await.unwrap_err();
    let again = soon("room for a third", async {
        loop {
            if let Ok(link) = dial::quic(&server.tls, server.address).await {
                break link;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(again);
}

#[tokio::test]
async fn one_address_cannot_take_all_places() {
    let limits = Limits { connections_per_address_max: 1, ..Limits::default() };
    let mut server = start_limited(limits).await;
    let _first = dial::websocket(&server.tls, server.address, Encoding::Text, None).await.unwrap();
    server.began().await;
    let second = dial::websocket(&server.tls, server.address, Encoding::Text, None).await;
    assert!(matches!(second, Err(DialError::Unreachable { .. })), "{second:?}");
}

#[tokio::test]
async fn the_plane_serves_on_after_all_this() {
    let mut server = start().await;
    for bytes in [&b"\xff\xff\xff\xff\xff\xff"[..], b"\0", b"\x88\x81\0\0\0\0x"] {
        let mut stream = upgraded(&server, "text").await;
        stream.write_all(bytes).await.unwrap();
        drop(stream);
        server.ended().await.unwrap_err();
    }
    let mut socket = stranger(&server, "text").await;
    socket.send(Message::text("still there?")).await.unwrap();
    let echoed = soon("an echo", socket.next()).await.unwrap().unwrap();
    assert_eq!(echoed, Message::text("still there?"));
}
