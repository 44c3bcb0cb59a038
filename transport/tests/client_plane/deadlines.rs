//! Peers that keep us waiting: every phase has a deadline. The deadlines are short here; that the plane
//! acts at all is what is tested, not when.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};
use tokio_tungstenite::tungstenite::Message;
use transport::{Encoding, LinkError, client_plane::Limits, dial};

use crate::support::{frames, soon, start_limited, start_with, stranger, tls, upgraded};

const SHORT: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_handshake_that_does_not_come_is_cut() {
    let server = start_limited(Limits { handshake: SHORT, ..Limits::default() }).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    // The beginning of a ClientHello, and then nothing.
    stream.write_all(b"\x16\x03\x01\x02\0\x01").await.unwrap();
    let mut answer = Vec::new();
    let _ = soon("the cut", stream.read_to_end(&mut answer)).await;
}

#[tokio::test]
async fn a_connection_without_a_request_is_cut() {
    let limits = Limits { first_stream: SHORT, ..Limits::default() };
    let server = start_limited(limits).await;
    for alpn in ["http/1.1", "h2"] {
        let mut stream = tls(&server, &[alpn]).await;
        let mut answer = Vec::new();
        let _ = soon("the cut", stream.read_to_end(&mut answer)).await;
    }
}

#[tokio::test]
async fn a_header_that_trickles_is_cut() {
    let server = start_limited(Limits { header: SHORT, ..Limits::default() }).await;
    let mut stream = tls(&server, &["http/1.1"]).await;
    stream.write_all(b"GET /chat HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    let trickle = async {
        while stream.write_all(b"X-Drip: y\r\n").await.is_ok() && stream.flush().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon("the cut", trickle).await;
}

#[tokio::test]
async fn a_quic_connection_without_a_stream_is_closed() {
    let limits = Limits { first_stream: SHORT, ..Limits::default() };
    let mut server = start_limited(limits).await;
    // The node hears of a stream with its first frame, which never comes.
    let mut link = dial::quic(&server.tls, server.address).await.unwrap();
    let end = soon("the close", link.reader.next()).await;
    assert_eq!(end, Err(LinkError::Closed { code: 4408 }));
    assert!(server.nothing_began());
}

#[tokio::test]
async fn a_silent_websocket_peer_is_noticed() {
    let limits = Limits { silence: SHORT, ..Limits::default() };
    let mut server = start_limited(limits).await;
    // Never reads, so it never answers a ping; the connection itself stays perfectly healthy.
    let _stream = upgraded(&server, "text").await;
    assert_eq!(server.ended().await, Err(LinkError::Silent));
}

#[tokio::test]
async fn a_peer_that_answers_pings_stays() {
    let limits = Limits { silence: SHORT, ..Limits::default() };
    let mut server = start_limited(limits).await;
    let mut socket = stranger(&server, "text").await;
    for _ in 0..6 {
        // More than twice the permitted silence; answering is what the library does while it reads.
        let ping = soon("a ping", socket.next()).await.unwrap().unwrap();
        assert!(matches!(ping, Message::Ping(_)), "{ping:?}");
    }
    socket.send(Message::text("here")).await.unwrap();
    let echoed = soon("an echo", async {
        loop {
            match socket.next().await.unwrap().unwrap() {
                Message::Ping(_) => {}
                other => break other,
            }
        }
    });
    assert_eq!(echoed.await, Message::text("here"));
    assert!(server.ended.try_recv().is_err(), "the link lives");
}

#[tokio::test]
async fn a_vanished_quic_peer_is_noticed() {
    let limits = Limits { silence: Duration::from_millis(500), ..Limits::default() };
    let mut server = start_limited(limits).await;
    let (tls, address) = (server.tls.clone(), server.address);
    let (ready_to, mut ready) = mpsc::unbounded_channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    // A client whose whole runtime stands still, like a machine that lost its power.
    let client = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let link = runtime.block_on(async {
            let mut link = dial::quic(&tls, address).await.unwrap();
            link.writer.send(&mut frames(["hello"])).await.unwrap();
            link.reader.next().await.unwrap().unwrap();
            link
        });
        ready_to.send(()).unwrap();
        let _ = released.recv();
        drop(link);
    });
    soon("an echo", ready.recv()).await.unwrap();
    assert_eq!(server.ended().await, Err(LinkError::Silent));
    drop(release);
    client.join().unwrap();
}

/// A client that sends and never reads what comes back.
async fn never_reads(mut link: transport::Link) -> LinkError {
    let frame = Bytes::from(vec![b'x'; 100_000]);
    loop {
        let mut queue: VecDeque<Bytes> = std::iter::repeat_n(frame.clone(), 100).collect();
        if let Err(error) = link.writer.send(&mut queue).await {
            return error;
        }
    }
}

#[tokio::test]
async fn a_slow_reader_is_cut_on_every_transport() {
    let limits = Limits { write: Duration::from_millis(1), ..Limits::default() };
    let mut server = start_limited(limits).await;
    let link = dial::quic(&server.tls, server.address).await.unwrap();
    let client = tokio::spawn(never_reads(link));
    assert_eq!(server.ended().await, Err(LinkError::Slow));
    let error = soon("the client's end", client).await.unwrap();
    assert!(matches!(error, LinkError::Closed { code: 4409 } | LinkError::Slow), "{error:?}");

    let link = dial::websocket(&server.tls, server.address, Encoding::Text, None).await.unwrap();
    let client = tokio::spawn(never_reads(link));
    assert_eq!(server.ended().await, Err(LinkError::Slow));
    soon("the client's end", client).await.unwrap();
}

#[tokio::test]
async fn a_body_that_stops_arriving_is_given_up() {
    let (told, mut hears) = mpsc::unbounded_channel();
    let route = axum::routing::post(move |body: axum::body::Body| {
        let told = told.clone();
        async move {
            let body = axum::body::to_bytes(body, 1 << 20).await;
            let _ = told.send(body.is_err());
        }
    });
    let limits = Limits { body_pause: SHORT, ..Limits::default() };
    let server = start_with(limits, axum::Router::new().route("/asset", route)).await;
    let mut stream = tls(&server, &["http/1.1"]).await;
    let head = b"POST /asset HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nfirst bytes";
    stream.write_all(head).await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(soon("the body's end", hears.recv()).await, Some(true));
}

/// Tells when it is dropped.
struct Told(mpsc::UnboundedSender<&'static str>);

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.0.send("dropped");
    }
}

#[tokio::test]
async fn an_answer_that_nobody_takes_is_given_up() {
    let (tell, mut hears) = mpsc::unbounded_channel();
    let route = axum::routing::get(move || {
        let told = Told(tell.clone());
        let mut pieces = 0;
        let endless = futures::stream::repeat_with(move || {
            pieces += 1;
            if pieces == 2 {
                let _ = told.0.send("taken");
            }
            Ok::<_, std::io::Error>(Bytes::from(vec![0; 64 << 10]))
        });
        async move { axum::body::Body::from_stream(endless) }
    });
    let limits = Limits { body_pause: SHORT, ..Limits::default() };
    let server = start_with(limits, axum::Router::new().route("/endless", route)).await;
    let mut stream = tls(&server, &["http/1.1"]).await;
    stream.write_all(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(soon("the beginning of the answer", hears.recv()).await, Some("taken"));
    assert_eq!(soon("the end of the answer", hears.recv()).await, Some("dropped"));
    drop(stream);
}
