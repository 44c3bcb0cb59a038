//! A WebSocket over HTTP/2 (RFC 8441) by a client that is not ours.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::http::{Method, Request};
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::Stranger;
use crate::chat::Chat;

/// Bytes that may be on their way between the WebSocket and the stream below it.
const PIPE_BYTES: usize = 64 << 10;

impl Stranger {
    /// Opens the chat by an extended CONNECT on an HTTP/2 connection over TLS.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn chat_http_2(&self, address: SocketAddr, ca_pem: &[u8]) -> Chat {
        let stream = crate::tls::connect(address, ca_pem, "h2", None).await.expect("TLS");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
        let (mut client, connection) = h2::client::handshake(stream).await.expect("HTTP/2 begins");
        tokio::spawn(connection);
        let request = Request::builder()
            .method(Method::CONNECT)
            .uri("https://localhost/chat?encoding=text")
            .extension(Protocol::from_static("websocket"))
            .header("sec-websocket-version", "13")
            .header("authorization", format!("Bearer {}", self.token))
            .body(())
            .expect("a good request");
        // The setting that permits an extended CONNECT comes with the server's first frame.
        while !client.is_extended_connect_protocol_enabled() {
            tokio::task::yield_now().await;
        }
        let (response, upload) =
            client.send_request(request, false).expect("a request is permitted");
        let response = response.await.expect("an answer");
        assert_eq!(response.status(), 200, "the server agrees");
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        tokio::spawn(carry(far, upload, response.into_body()));
        let mut chat = Chat::over(
            WebSocketStream::from_raw_socket(near, Role::Client, None).await,
            &self.user,
        );
        chat.welcomed().await;
        chat
    }
}

/// Carries bytes both ways until either side ends.
async fn carry(pipe: DuplexStream, mut upload: SendStream<Bytes>, mut download: RecvStream) {
    let (mut read, mut write) = tokio::io::split(pipe);
    let up = async {
        let mut buffer = vec![0; PIPE_BYTES];
        while let Ok(length) = read.read(&mut buffer).await {
            let end = length == 0;
            let bytes = Bytes::copy_from_slice(&buffer[..length]);
            if upload.send_data(bytes, end).is_err() || end {
                return;
            }
        }
    };
    let down = async {
        while let Some(Ok(bytes)) = download.data().await {
            let _ = download.flow_control().release_capacity(bytes.len());
            if write.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = write.shutdown().await;
    };
    tokio::join!(up, down);
}
