//! What an honest client sees, on every kind of link.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;
use transport::{CloseReason, Encoding, Link, LinkError, LinkKind, dial, memory_link};

use crate::support::{frames, soon, start, stranger, stranger_h2};

/// Sends frames of many sizes in one call and expects them back, in order.
async fn echoes(mut link: Link) -> Link {
    let sizes = [0, 1, 3, 300, 4096, 5000, 16 << 10, (16 << 10) + 1, 70_000, 300_000, 1 << 20, 2];
    let sent: Vec<Bytes> = sizes
        .iter()
        .enumerate()
        .map(|(n, size)| Bytes::from(vec![b'a' + n as u8; *size]))
        .collect();
    let mut queue: VecDeque<Bytes> = sent.iter().cloned().collect();
    let (mut reader, mut writer) = (link.reader, link.writer);
    let sending = async {
        writer.send(&mut queue).await.unwrap();
        assert!(queue.is_empty(), "send drains the queue");
    };
    let receiving = async {
        for frame in &sent {
            let echoed = reader.next().await.unwrap().unwrap();
            assert!(echoed == *frame, "{} bytes sent, {} came", frame.len(), echoed.len());
        }
    };
    soon("all echoes", futures::future::join(sending, receiving)).await;
    link.reader = reader;
    link.writer = writer;
    link
}

#[tokio::test]
async fn quic_echoes_frames_of_every_size_in_order() {
    let mut server = start().await;
    let link = dial::quic(&server.tls, server.address).await.unwrap();
    let mut link = echoes(link).await;
    let began = server.began().await;
    assert_eq!((began.kind, began.encoding), (LinkKind::Quic, Encoding::Binary));
    assert_eq!(began.bearer, None);
    link.writer.close(CloseReason::Normal).await;
    assert_eq!(server.ended().await, Ok(()));
}

#[tokio::test]
async fn websocket_echoes_binary_frames_of_every_size_in_order() {
    let mut server = start().await;
    let link = dial::websocket(&server.tls, server.address, Encoding::Binary, Some("t0ken"))
        .await
        .unwrap();
    let mut link = echoes(link).await;
    let began = server.began().await;
    assert_eq!((began.kind, began.encoding), (LinkKind::WebSocket, Encoding::Binary));
    assert_eq!(began.bearer.as_deref(), Some("t0ken"));
    assert!(began.peer.unwrap().ip().is_loopback());
    link.writer.close(CloseReason::Normal).await;
    assert_eq!(server.ended().await, Ok(()));
}

#[tokio::test]
async fn websocket_echoes_text() {
    let mut server = start().await;
    let link = dial::websocket(&server.tls, server.address, Encoding::Text, None).await.unwrap();
    let mut link = echoes(link).await;
    let began = server.began().await;
    assert_eq!((began.encoding, began.bearer), (Encoding::Text, None));
    link.writer.send(&mut frames(["grüße 🙂"])).await.unwrap();
    assert_eq!(soon("an echo", link.reader.next()).await.unwrap().unwrap(), "grüße 🙂");
}

#[tokio::test]
async fn another_implementation_is_understood_on_http_1() {
    let mut server = start().await;
    let mut socket = stranger(&server, "text").await;
    socket.send(Message::text("hello")).await.unwrap();
    let echoed = soon("an echo", socket.next()).await.unwrap().unwrap();
    assert_eq!(echoed, Message::text("hello"));
    socket.send(Message::Ping(Bytes::from("are you there"))).await.unwrap();
    let pong = soon("a pong", socket.next()).await.unwrap().unwrap();
    assert_eq!(pong, Message::Pong(Bytes::from("are you there")));
    socket.close(None).await.unwrap();
    assert_eq!(server.ended().await, Ok(()));
    let closed = soon("the answer to a close", socket.next()).await;
    assert!(matches!(closed, Some(Ok(Message::Close(_))) | None), "{closed:?}");
}

#[tokio::test]
async fn another_implementation_is_understood_on_http_2() {
    let mut server = start().await;
    for (encoding, message) in
        [("text", Message::text("hello")), ("binary", Message::binary(vec![7; 100_000]))]
    {
        let mut socket = stranger_h2(&server, encoding).await;
        socket.send(message.clone()).await.unwrap();
        let echoed = soon("an echo", socket.next()).await.unwrap().unwrap();
        assert!(echoed == message);
        let began = server.began().await;
        assert_eq!(began.kind, LinkKind::WebSocket);
        assert_eq!(began.bearer.as_deref(), Some("over-h2"));
        socket.close(None).await.unwrap();
        assert_eq!(server.ended().await, Ok(()));
    }
}

#[tokio::test]
async fn fragments_with_a_ping_between_make_one_message() {
    use tokio::io::AsyncWriteExt;
    let server = start().await;
    let mut stream = crate::support::upgraded(&server, "text").await;
    // "hel" not final, a ping, "lo" final; masks of zeros leave the text readable.
    stream.write_all(b"\x01\x83\0\0\0\0hel\x89\x80\0\0\0\0\x80\x82\0\0\0\0lo").await.unwrap();
    let mut socket = tokio_tungstenite::WebSocketStream::from_raw_socket(
        stream,
        tokio_tungstenite::tungstenite::protocol::Role::Client,
        None,
    )
    .await;
    let mut heard = Vec::new();
    while heard.len() < 2 {
        heard.push(soon("a pong and an echo", socket.next()).await.unwrap().unwrap());
    }
    assert!(heard.contains(&Message::text("hello")), "{heard:?}");
    assert!(heard.contains(&Message::Pong(Bytes::new())), "{heard:?}");
}

/// The plane's echo keeps up with ten thousand small frames handed over at once.
async fn keeps_order(mut link: Link) {
    const COUNT: u32 = 10_000;
    let mut queue: VecDeque<Bytes> = (0..COUNT).map(|n| Bytes::from(n.to_string())).collect();
    let sending = async { link.writer.send(&mut queue).await.unwrap() };
    let receiving = async {
        for n in 0..COUNT {
            let frame = link.reader.next().await.unwrap().unwrap();
            assert_eq!(frame, n.to_string());
        }
    };
    soon("ten thousand echoes", futures::future::join(sending, receiving)).await;
}

#[tokio::test]
async fn many_frames_at_once_keep_their_order() {
    let server = start().await;
    keeps_order(dial::quic(&server.tls, server.address).await.unwrap()).await;
    for encoding in [Encoding::Binary, Encoding::Text] {
        let link = dial::websocket(&server.tls, server.address, encoding, None).await.unwrap();
        keeps_order(link).await;
    }
}

/// Abandons a send that cannot finish, and reads that find nothing; everything still arrives, once.
async fn survives_cancelling(mut link: Link) {
    const FRAMES: usize = 40;
    const BYTES: usize = 900_000;
    assert!(link.reader.next().now_or_never().is_none(), "nothing was sent yet");
    let mut queue: VecDeque<Bytes> =
        (0..FRAMES).map(|n| Bytes::from(vec![b'A' + n as u8; BYTES])).collect();
    // The echo stops reading once its own answers are not read, so this cannot end by itself.
    let cut = tokio::time::timeout(Duration::from_millis(300), link.writer.send(&mut queue)).await;
    assert!(cut.is_err(), "the sockets took more than any kernel buffers");
    let mut received = 0;
    while received < FRAMES {
        tokio::select! {
            biased;
            frame = link.reader.next() => {
                let frame = frame.unwrap().unwrap();
                assert_eq!(frame.len(), BYTES);
                assert!(frame.iter().all(|byte| *byte == b'A' + received as u8));
                received += 1;
            }
            sent = link.writer.send(&mut queue) => {
                sent.unwrap();
                while received < FRAMES {
                    let frame = soon("an echo", link.reader.next()).await.unwrap().unwrap();
                    assert!(frame.iter().all(|byte| *byte == b'A' + received as u8));
                    received += 1;
                }
            }
        }
    }
}

#[tokio::test]
async fn abandoned_calls_lose_and_repeat_nothing() {
    let server = start().await;
    let link = dial::quic(&server.tls, server.address).await.unwrap();
    soon("all echoes over QUIC", survives_cancelling(link)).await;
    let link = dial::websocket(&server.tls, server.address, Encoding::Binary, None).await.unwrap();
    soon("all echoes over WebSocket", survives_cancelling(link)).await;
}

#[tokio::test]
async fn a_close_reason_arrives_after_the_frames_before_it() {
    let (mut here, mut there) = memory_link();
    here.writer.send(&mut frames(["last words"])).await.unwrap();
    here.writer.close(CloseReason::GoingAway).await;
    assert_eq!(there.reader.next().await.unwrap().unwrap(), "last words");
    assert_eq!(there.reader.next().await, Err(LinkError::Closed { code: 1001 }));
    assert!(here.writer.send(&mut frames(["too late"])).await.is_err());
}

#[tokio::test]
async fn a_dropped_memory_link_ends_the_other_side() {
    let (here, mut there) = memory_link();
    drop(here);
    assert!(matches!(there.reader.next().await, Err(LinkError::Lost(_))));
    assert!(matches!(there.writer.send(&mut frames(["?"])).await, Err(LinkError::Lost(_))));
}

#[test]
fn every_close_code_is_recognised() {
    for reason in CloseReason::ALL {
        assert_eq!(CloseReason::from_code(reason.code().into()), Some(reason));
    }
    assert_eq!(CloseReason::from_code(4999), None);
}
