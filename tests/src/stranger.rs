//! A client that knows nothing of this project but its published interface: HTTP, JSON and a WebSocket.

use std::net::SocketAddr;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::http;

/// How long a stranger waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// A user with a session, and the node it talks to.
#[derive(Debug, Clone)]
pub struct Stranger {
    /// Its user id.
    pub user: String,
    /// Its access token.
    pub token: String,
    node: SocketAddr,
}

impl Stranger {
    /// Registers `user` and opens a session, at the plain HTTP address of a node.
    ///
    /// # Panics
    /// When either is refused.
    pub async fn arrive(node: SocketAddr, user: &str) -> Self {
        let account = json!({ "userId": user, "password": "correct horse battery" });
        let (status, body) = http::json(node, "POST", "/v1/users", None, Some(&account)).await;
        assert_eq!(status, 201, "{body}");
        Self::log_in(node, user, "first").await
    }

    /// Opens one more session of a registered user.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn log_in(node: SocketAddr, user: &str, device: &str) -> Self {
        let login = json!({ "userId": user, "password": "correct horse battery", "deviceName": device });
        let (status, body) = http::json(node, "POST", "/v1/sessions", None, Some(&login)).await;
        assert_eq!(status, 201, "{body}");
        let token = body["accessToken"].as_str().expect("a session has a token").to_owned();
        Self { user: user.to_owned(), token, node }
    }

    /// The same session, talking to another node.
    #[must_use]
    pub fn at(&self, node: SocketAddr) -> Self {
        Self { node, ..self.clone() }
    }

    /// One authenticated request.
    pub async fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        http::json(self.node, method, path, Some(&self.token), body).await
    }

    /// Opens the chat.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn chat(&self) -> Chat {
        let url = format!("ws://{}/chat?encoding=text", self.node);
        let mut request = url.into_client_request().expect("a good address");
        let bearer = format!("Bearer {}", self.token).parse().expect("a token is a header value");
        request.headers_mut().insert("authorization", bearer);
        let (socket, _) = tokio_tungstenite::connect_async(request).await.expect("the chat opens");
        let mut chat = Chat { socket, connection: String::new(), user: self.user.clone() };
        let first = chat.next().await;
        chat.connection = first["connection_id"].as_str().expect("a name first").to_owned();
        chat
    }

    /// The messages of the conversation with `other`, oldest first, page by page.
    ///
    /// # Panics
    /// When a page is refused.
    pub async fn history(&self, other: &str) -> Vec<Value> {
        let mut all = Vec::new();
        let mut after = String::new();
        loop {
            let path = format!("/messages/{other}?limit=100{after}");
            let (status, page) = self.ask("GET", &path, None).await;
            assert_eq!(status, 200, "{page}");
            for message in page["messages"].as_array().expect("a list") {
                all.extend(message["payload"].as_array().expect("a list").iter().cloned());
            }
            match page["next_after_id"].as_str() {
                Some(next) => after = format!("&after_id={next}"),
                None => return all,
            }
        }
    }
}

/// An open chat in the specification's JSON.
pub struct Chat {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    connection: String,
    user: String,
}

impl Chat {
    /// Sends one message and does not wait.
    pub async fn send(&mut self, to: &str, id: &str, text: &str) {
        let item = json!({
            "senderId": self.user, "receiverId": to, "messageId": id,
            "timestamp": "9:47PM 12-1-2023", "attachment": false, "attachmentURI": "", "messageText": text,
        });
        self.say(item).await;
    }

    /// Sends one payload item.
    ///
    /// # Panics
    /// When the link is gone.
    pub async fn say(&mut self, item: Value) {
        let frame = json!({ "connection_id": self.connection, "payload": [item] });
        self.raw(&frame.to_string()).await;
    }

    /// Sends any text.
    ///
    /// # Panics
    /// When the link is gone.
    pub async fn raw(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.expect("the link stands");
    }

    /// The next frame.
    ///
    /// # Panics
    /// When none comes in time, or it is not JSON.
    pub async fn next(&mut self) -> Value {
        self.try_next().await.expect("a frame, not the end of the link")
    }

    /// The next frame; `None` when the link ended.
    ///
    /// # Panics
    /// When nothing comes in time.
    pub async fn try_next(&mut self) -> Option<Value> {
        let frame = async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Text(text))) => {
                        return Some(serde_json::from_str(&text).expect("frames are JSON"));
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                    Some(Ok(_)) => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, frame).await.expect("something happens in time")
    }

    /// Waits for the first payload item that `wanted` accepts; others are passed over.
    ///
    /// # Panics
    /// When none comes in time.
    pub async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let frame = self.next().await;
            if let Some(item) = items(&frame).into_iter().find(&wanted) {
                return item;
            }
        }
    }
}

/// The payload items of a frame, live or caught up.
#[must_use]
pub fn items(frame: &Value) -> Vec<Value> {
    let of = |frame: &Value| frame["payload"].as_array().cloned().unwrap_or_default();
    let mut all = of(frame);
    for message in frame["messages"].as_array().into_iter().flatten() {
        all.extend(of(message));
    }
    all
}
