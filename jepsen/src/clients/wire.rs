//! A WebSocket as a stranger opens it: TLS with the cluster's authority, HTTP/1.1, the specification's JSON. It knows the
//! published contract and nothing else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

/// Connecting, TLS, the upgrade and the greeting together may take so long.
const OPEN_WITHIN: Duration = Duration::from_secs(5);
/// A node that says nothing for so long, not even a ping, is gone.
const SILENCE: Duration = Duration::from_secs(8);

/// Whom to trust.
#[derive(Clone)]
pub(crate) struct Trust(TlsConnector);

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Trust")
    }
}

impl Trust {
    /// Everybody whom this authority signed.
    pub(crate) fn new(ca_pem: &[u8]) -> Result<Self, String> {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca_pem) {
            let certificate = certificate.map_err(|error| format!("{error:?}"))?;
            roots.add(certificate).map_err(|error| error.to_string())?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }
}

/// An open chat.
#[derive(Debug)]
pub(crate) struct Wire {
    socket: WebSocketStream<TlsStream<TcpStream>>,
    connection: String,
}

impl Wire {
    /// Opens a chat at a node and takes its greeting.
    pub(crate) async fn open(trust: &Trust, node: SocketAddr, token: &str) -> Result<Self, String> {
        timeout(OPEN_WITHIN, Self::open_slowly(trust, node, token))
            .await
            .unwrap_or_else(|_| Err("it took too long".to_owned()))
    }

    async fn open_slowly(trust: &Trust, node: SocketAddr, token: &str) -> Result<Self, String> {
        let tcp = TcpStream::connect(node).await.map_err(|error| error.to_string())?;
        tcp.set_nodelay(true).map_err(|error| error.to_string())?;
        let name = ServerName::from(node.ip());
        let tls = trust.0.connect(name, tcp).await.map_err(|error| error.to_string())?;
        let url = format!("wss://{node}/chat?encoding=text");
        let mut request = url.into_client_request().map_err(|error| error.to_string())?;
        let bearer = format!("Bearer {token}").parse().map_err(|_| "no token".to_owned())?;
        request.headers_mut().insert("authorization", bearer);
        let (socket, _) = tokio_tungstenite::client_async(request, tls)
            .await
            .map_err(|error| error.to_string())?;
        let mut wire = Self { socket, connection: String::new() };
        let greeting = wire.next().await.ok_or("it closed at once")?;
        let name = greeting["connection_id"].as_str().ok_or("no greeting")?;
        wire.connection = name.to_owned();
        Ok(wire)
    }

    /// Sends one item.
    pub(crate) async fn say(&mut self, item: &Value) -> Result<(), String> {
        let frame = json!({ "connection_id": self.connection, "payload": [item] });
        self.socket.send(Message::text(frame.to_string())).await.map_err(|error| error.to_string())
    }

    /// The next frame; `None` when the link is gone. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            match timeout(SILENCE, self.socket.next()).await.ok()??.ok()? {
                Message::Text(text) => return serde_json::from_str(&text).ok(),
                Message::Close(_) => return None,
                _ => {}
            }
        }
    }

    /// Closes it in order, or forgets it.
    pub(crate) async fn close(mut self) {
        // Whoever does not answer a farewell is left all the same.
        let _ = timeout(Duration::from_millis(200), self.socket.close(None)).await;
    }
}

/// All items of a frame, those of a first delivery included.
pub(crate) fn items(frame: Value) -> Vec<Value> {
    let payload = |mut holder: Value| match holder["payload"].take() {
        Value::Array(items) => items,
        _ => Vec::new(),
    };
    let mut frame = frame;
    match frame["messages"].take() {
        Value::Array(holders) => holders.into_iter().flat_map(payload).collect(),
        _ => payload(frame),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_of_both_shapes_of_a_frame_are_found() {
        let live = json!({"connection_id": "x", "payload": [{"a": 1}, {"a": 2}]});
        let first = json!({"messages": [{"payload": [{"a": 1}]}, {"payload": [{"a": 2}]}]});
        assert_eq!(items(live), items(first));
        assert!(items(json!({"error": {}})).is_empty());
    }
}
