//! A client that knows nothing of this project but its published interface: HTTP, JSON and a WebSocket.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::chat::Chat;
use crate::http::{self, Answer, escape};

/// The password of every user here.
pub const PASSWORD: &str = "correct horse battery";

/// A user with a session, and the node it talks to.
#[derive(Debug, Clone)]
pub struct Stranger {
    /// Its user id.
    pub user: String,
    /// Its device.
    pub device: String,
    /// Its access token.
    pub token: String,
    /// What it may trade for new tokens.
    pub refresh: String,
    node: SocketAddr,
}

impl Stranger {
    /// Registers `user` and opens a session, at the plain HTTP address of a node.
    ///
    /// # Panics
    /// When either is refused.
    pub async fn arrive(node: SocketAddr, user: &str) -> Self {
        let account = json!({ "userId": user, "password": PASSWORD });
        let (status, body) = http::json(node, "POST", "/v1/users", None, Some(&account)).await;
        assert_eq!((status, &body), (201, &json!({ "userId": user })));
        Self::log_in(node, user, "first").await
    }

    /// Opens one more session of a registered user.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn log_in(node: SocketAddr, user: &str, device: &str) -> Self {
        let login = json!({ "userId": user, "password": PASSWORD, "deviceName": device });
        let (status, body) = http::json(node, "POST", "/v1/sessions", None, Some(&login)).await;
        assert_eq!(status, 201, "{body}");
        Self::with(node, &body)
    }

    /// Whoever a session's JSON names.
    ///
    /// # Panics
    /// When it lacks something.
    #[must_use]
    pub fn with(node: SocketAddr, session: &Value) -> Self {
        let text = |field: &str| session[field].as_str().expect("a session is complete").to_owned();
        Self {
            user: text("userId"),
            device: text("deviceId"),
            token: text("accessToken"),
            refresh: text("refreshToken"),
            node,
        }
    }

    /// The same session, talking to another node.
    #[must_use]
    pub fn at(&self, node: SocketAddr) -> Self {
        Self { node, ..self.clone() }
    }

    /// Another device of the same user, at the same node.
    pub async fn another(&self, device: &str) -> Self {
        Self::log_in(self.node, &self.user, device).await
    }

    /// One authenticated request.
    pub async fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        http::json(self.node, method, path, Some(&self.token), body).await
    }

    /// One authenticated request, answered with headers and all.
    ///
    /// # Panics
    /// When nobody answers.
    pub async fn answer(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let body = body.map_or_else(String::new, Value::to_string);
        let answer = http::request(self.node, method, path, Some(&self.token), &body).await;
        answer.expect("the node answers")
    }

    /// One authenticated request with any headers and bytes.
    ///
    /// # Panics
    /// When nobody answers.
    pub async fn exchange(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let headers = [headers, &[("Authorization", &bearer)]].concat();
        let answer = http::exchange(self.node, (method, path), &headers, body).await;
        answer.expect("the node answers")
    }

    /// Uploads an asset; what the server says to it, whatever that is.
    pub async fn try_upload(&self, media_type: &str, body: &[u8]) -> Answer {
        self.exchange("POST", "/asset", &[("Content-Type", media_type)], body).await
    }

    /// Uploads an asset and returns its URI.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn upload(&self, media_type: &str, body: &[u8]) -> String {
        let answer = self.try_upload(media_type, body).await;
        assert_eq!(answer.status, 201, "{}", answer.json());
        answer.json()["uri"].as_str().expect("a URI").to_owned()
    }

    /// One authenticated request that must be granted.
    ///
    /// # Panics
    /// When it is not.
    pub async fn granted(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let (status, answer) = self.ask(method, path, body).await;
        assert_eq!(status / 100, 2, "{method} {path}: {status} {answer}");
        answer
    }

    /// One authenticated request that must be refused: the status and the problem.
    ///
    /// # Panics
    /// When it is not, or not as RFC 9457 says.
    pub async fn refused(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let answer = self.answer(method, path, body).await;
        (answer.status, problem(&answer))
    }

    /// Opens the chat.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn chat(&self) -> Chat {
        self.try_chat().await.expect("the chat opens")
    }

    /// Opens the chat if the node is there and agrees.
    ///
    /// # Panics
    /// When the address or token cannot be one.
    pub async fn try_chat(&self) -> Option<Chat> {
        let url = format!("ws://{}/chat?encoding=text", self.node);
        let mut request = url.into_client_request().expect("a good address");
        let bearer = format!("Bearer {}", self.token).parse().expect("a token is a header value");
        request.headers_mut().insert("authorization", bearer);
        let (socket, _) = tokio_tungstenite::connect_async(request).await.ok()?;
        let mut chat = Chat::over(socket, &self.user);
        chat.try_welcomed().await.then_some(chat)
    }

    /// Opens the chat without saying who speaks; `query` is what follows `/chat`.
    ///
    /// # Panics
    /// When the handshake is refused.
    pub async fn chat_unnamed(&self, query: &str) -> Chat {
        let url = format!("ws://{}/chat{query}", self.node);
        let (socket, _) = tokio_tungstenite::connect_async(url).await.expect("the chat opens");
        Chat::over(socket, &self.user)
    }

    /// Opens the chat with what an earlier one was given for it; empty for the first.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn chat_resuming(&self, resume: &str) -> Chat {
        let mut chat = self.chat_unnamed("?encoding=text").await;
        chat.raw(&json!({ "token": self.token, "resume": resume }).to_string()).await;
        chat.welcomed().await;
        chat
    }

    /// The same by headers alone.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn chat_resuming_by_headers(&self, resume: &str) -> Chat {
        let url = format!("ws://{}/chat?encoding=text", self.node);
        let mut request = url.into_client_request().expect("a good address");
        let bearer = format!("Bearer {}", self.token);
        for (name, value) in [("authorization", &*bearer), ("synod-resume", resume)] {
            let value = value.parse().expect("a token is a header value");
            request.headers_mut().insert(name, value);
        }
        let (socket, _) = tokio_tungstenite::connect_async(request).await.expect("the chat opens");
        let mut chat = Chat::over(socket, &self.user);
        chat.welcomed().await;
        chat
    }

    /// Opens the chat with any token or none in its header, as somebody who calls themselves `user`; what the node says
    /// to that comes as the first frame.
    ///
    /// # Panics
    /// When the handshake is refused.
    pub async fn chat_claiming(&self, user: &str, token: Option<&str>) -> Chat {
        let url = format!("ws://{}/chat?encoding=text", self.node);
        let mut request = url.into_client_request().expect("a good address");
        if let Some(token) = token {
            let bearer = format!("Bearer {token}").parse().expect("a token is a header value");
            request.headers_mut().insert("authorization", bearer);
        }
        let (socket, _) = tokio_tungstenite::connect_async(request).await.expect("the chat opens");
        Chat::over(socket, user)
    }

    /// The messages of the conversation with `other`, oldest first, page by page.
    ///
    /// # Panics
    /// When a page is refused.
    pub async fn history(&self, other: &str) -> Vec<Value> {
        let mut all = Vec::new();
        let mut after = String::new();
        loop {
            let path = format!("/messages/{}?limit=100{after}", escape(other));
            let page = self.granted("GET", &path, None).await;
            all.extend(crate::items(&page));
            match page["next_after_id"].as_str() {
                Some(next) => after = format!("&after_id={next}"),
                None => return all,
            }
        }
    }
}

/// The problem in an answer, after a look at everything that must be about it.
///
/// # Panics
/// When the answer is no problem, or lacks something.
#[must_use]
pub fn problem(answer: &Answer) -> Value {
    let body = answer.json();
    assert!(answer.status >= 400, "{} {body}", answer.status);
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{body}");
    for member in ["type", "title", "detail", "code"] {
        assert!(body[member].as_str().is_some_and(|text| !text.is_empty()), "{member} in {body}");
    }
    assert_eq!(body["status"], json!(answer.status), "{body}");
    assert!(body["retryable"].is_boolean(), "{body}");
    if let Some(ms) = body["retry_after_ms"].as_u64() {
        let seconds = answer.header("retry-after").expect("a header with it");
        assert_eq!(seconds.parse(), Ok(ms.div_ceil(1000)), "{body}");
    }
    body
}
