//! An open chat in the specification's JSON, read all the time as a browser would.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures::{Sink, SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

/// How long a stranger waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// What came over the link.
enum Heard {
    Frame(Value),
    /// The other side closed it, with this code.
    Closed(u16),
}

/// An open chat. Frames are taken as they come, and pings answered, whether somebody asks for them or not.
pub struct Chat {
    sink: Pin<Box<dyn Sink<Message, Error = Error> + Send>>,
    heard: mpsc::UnboundedReceiver<Heard>,
    reading: JoinHandle<()>,
    close_code: Option<u16>,
    connection: String,
    resume: String,
    reset: bool,
    user: String,
}

impl Chat {
    /// A chat of `user` over an open WebSocket.
    pub fn over<S>(socket: WebSocketStream<S>, user: &str) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sink, mut stream) = socket.split();
        let (tell, heard) = mpsc::unbounded_channel();
        let reading = tokio::spawn(async move {
            while let Some(Ok(message)) = stream.next().await {
                let heard = match message {
                    Message::Text(text) => {
                        Heard::Frame(serde_json::from_str(&text).expect("frames are JSON"))
                    }
                    Message::Close(Some(frame)) => Heard::Closed(frame.code.into()),
                    _ => continue,
                };
                if tell.send(heard).is_err() {
                    return;
                }
            }
        });
        let (connection, resume) = (String::new(), String::new());
        let user = user.to_owned();
        let (sink, close_code, reset) = (Box::pin(sink), None, false);
        Self { sink, heard, reading, close_code, connection, resume, reset, user }
    }

    /// Takes the greeting of the server: its name of this connection.
    ///
    /// # Panics
    /// When something else comes first.
    pub async fn welcomed(&mut self) {
        assert!(self.try_welcomed().await, "a name first");
    }

    /// Takes the greeting of the server; `false` when the link ends or an error comes instead.
    ///
    /// # Panics
    /// When nothing comes in time.
    pub async fn try_welcomed(&mut self) -> bool {
        let Some(first) = self.try_next().await else { return false };
        let Some(name) = first["connection_id"].as_str() else { return false };
        self.connection = name.to_owned();
        self.resume = first["resume"].as_str().unwrap_or_default().to_owned();
        self.reset = first["reset"] == true;
        first.get("error").is_none() && !name.is_empty() && !self.resume.is_empty()
    }

    /// What the server calls this connection.
    #[must_use]
    pub fn connection(&self) -> &str {
        &self.connection
    }

    /// A message as the specification writes it.
    #[must_use]
    pub fn message(&self, to: &str, id: &str, text: &str) -> Value {
        json!({
            "senderId": self.user, "receiverId": to, "messageId": id,
            "timestamp": "9:47PM 12-1-2023", "attachment": false, "attachmentURI": "", "messageText": text,
        })
    }

    /// A message for a group.
    #[must_use]
    pub fn to_group(&self, group: &str, id: &str, text: &str) -> Value {
        json!({ "senderId": self.user, "groupId": group, "messageId": id, "messageText": text })
    }

    /// Sends one message and does not wait.
    ///
    /// # Panics
    /// When the link is gone.
    pub async fn send(&mut self, to: &str, id: &str, text: &str) {
        let item = self.message(to, id, text);
        self.say(item).await;
    }

    /// Sends one message and returns what the server says to it, whatever that is.
    ///
    /// # Panics
    /// When the link is gone, or no answer comes in time.
    pub async fn sent(&mut self, item: Value) -> Value {
        let id = item["messageId"].clone();
        self.say(item).await;
        self.until(|item| item["messageId"] == id && item.get("messageText").is_none()).await
    }

    /// Sends one message and returns what the server says to it; `None` when the link ends instead.
    ///
    /// # Panics
    /// When nothing comes in time.
    pub async fn try_sent(&mut self, item: Value) -> Option<Value> {
        let id = item["messageId"].clone();
        let frame = json!({ "connection_id": self.connection, "payload": [item] });
        self.sink.send(Message::text(frame.to_string())).await.ok()?;
        let answers = |item: &Value| item["messageId"] == id && item.get("messageText").is_none();
        loop {
            let frame = self.try_next().await?;
            if let Some(answer) = items(&frame).into_iter().find(answers) {
                return Some(answer);
            }
        }
    }

    /// Sends one message to a user and returns its place.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn stored(&mut self, to: &str, id: &str, text: &str) -> Value {
        let item = self.message(to, id, text);
        self.accepted(item).await
    }

    /// Sends one message and returns its place.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn accepted(&mut self, item: Value) -> Value {
        let answer = self.sent(item).await;
        assert_eq!(answer["receivedServer"], json!(true), "{answer}");
        answer
    }

    /// Sends one message that must be refused and returns the error.
    ///
    /// # Panics
    /// When it is not.
    pub async fn failed(&mut self, item: Value) -> Value {
        let answer = self.sent(item).await;
        assert_eq!(answer["receivedServer"], json!(false), "{answer}");
        answer["error"].clone()
    }

    /// Confirms everything up to `message`, which came or was answered.
    ///
    /// # Panics
    /// When the link is gone.
    pub async fn confirm(&mut self, message: &Value, what: &str) {
        let (conversation, sequence) = (&message["conversationId"], &message["sequence"]);
        self.say(json!({ "conversationId": conversation, "sequence": sequence, what: true })).await;
    }

    /// Sends one payload item.
    ///
    /// # Panics
    /// When the link is gone.
    pub async fn say(&mut self, item: Value) {
        self.say_all(&[item]).await;
    }

    /// Sends several payload items in one frame.
    ///
    /// # Panics
    /// When the link is gone.
    pub async fn say_all(&mut self, items: &[Value]) {
        let frame = json!({ "connection_id": self.connection, "payload": items });
        self.raw(&frame.to_string()).await;
    }

    /// Sends any text.
    ///
    /// # Panics
    /// When the link is gone.
    pub async fn raw(&mut self, text: &str) {
        self.sink.send(Message::text(text)).await.expect("the link stands");
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
    /// When nothing comes in time, or a frame does not name this connection.
    pub async fn try_next(&mut self) -> Option<Value> {
        match in_time(self.heard.recv()).await? {
            Heard::Frame(frame) => {
                let named = self.connection.is_empty() || frame["connection_id"] == self.connection;
                assert!(named, "every frame names its connection: {frame}");
                Some(frame)
            }
            Heard::Closed(code) => {
                self.close_code = Some(code);
                None
            }
        }
    }

    /// Reads to the end of the link: the last error that the server named, and the code that it closed with.
    ///
    /// # Panics
    /// When the link does not end within `deadline`.
    pub async fn end_within(&mut self, deadline: Duration) -> (Value, Option<u16>) {
        let mut last = Value::Null;
        let read = async {
            while let Some(frame) = self.try_next().await {
                if frame["error"].is_object() {
                    last = frame["error"].clone();
                }
            }
        };
        tokio::time::timeout(deadline, read).await.expect("the link ends in time");
        (last, self.close_code)
    }

    /// Waits for the first payload item that `wanted` accepts; others are passed over.
    ///
    /// # Panics
    /// When none comes in time.
    pub async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        let found = async {
            loop {
                let frame = self.next().await;
                if let Some(item) = items(&frame).into_iter().find(&wanted) {
                    return item;
                }
            }
        };
        in_time(found).await
    }

    /// The next `count` items that are messages, in the order of their coming, live or caught up; answers and
    /// statuses are passed over.
    ///
    /// # Panics
    /// When they do not come in time, or more come with them.
    pub async fn messages(&mut self, count: usize) -> Vec<Value> {
        let mut messages = Vec::new();
        while messages.len() < count {
            let frame = self.next().await;
            messages
                .extend(items(&frame).into_iter().filter(|item| item.get("messageText").is_some()));
        }
        assert_eq!(messages.len(), count, "{messages:?}");
        messages
    }

    /// Wishes one change and returns what the server says to it.
    ///
    /// # Panics
    /// When the link is gone, or no answer comes in time.
    pub async fn wish(&mut self, item: Value) -> Value {
        let id = item["changeId"].clone();
        let frame = json!({ "connection_id": self.connection, "changes": [item] });
        self.raw(&frame.to_string()).await;
        self.change(|item| item["changeId"] == id).await
    }

    /// Waits for the first item of changes, answer or news, that `wanted` accepts; everything else is passed over.
    ///
    /// # Panics
    /// When none comes in time.
    pub async fn change(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        let found = async {
            loop {
                let frame = self.next().await;
                let items = frame["changes"].as_array().cloned().unwrap_or_default();
                if let Some(item) = items.into_iter().find(&wanted) {
                    return item;
                }
            }
        };
        in_time(found).await
    }

    /// The next `count` changes that happened, in the order of their coming; answers, messages and statuses are passed
    /// over.
    ///
    /// # Panics
    /// When they do not come in time, or more come with them.
    pub async fn changes(&mut self, count: usize) -> Vec<Value> {
        let mut changes = Vec::new();
        while changes.len() < count {
            let frame = self.next().await;
            let items = frame["changes"].as_array().cloned().unwrap_or_default();
            changes.extend(items.into_iter().filter(|item| item.get("changeId").is_none()));
        }
        assert_eq!(changes.len(), count, "{changes:?}");
        changes
    }

    /// The changes that happened, in the order of their coming, up to this number.
    ///
    /// # Panics
    /// When it does not come in time.
    pub async fn changes_until(&mut self, last: u64) -> Vec<Value> {
        let mut changes: Vec<Value> = Vec::new();
        while changes.last().is_none_or(|change| change["change"] != json!(last)) {
            let frame = self.next().await;
            let items = frame["changes"].as_array().cloned().unwrap_or_default();
            changes.extend(items.into_iter().filter(|item| item.get("changeId").is_none()));
        }
        changes
    }

    /// Says that the user is writing, or no more.
    ///
    /// # Panics
    /// When the link is gone.
    pub async fn typing(&mut self, mut fields: Value, on: bool) {
        fields["on"] = json!(on);
        let frame = json!({ "connection_id": self.connection, "typing": fields });
        self.raw(&frame.to_string()).await;
    }

    /// Waits for the news that somebody is writing, or no more; everything else is passed over.
    ///
    /// # Panics
    /// When none comes in time.
    pub async fn heard_typing(&mut self) -> Value {
        let found = async {
            loop {
                let frame = self.next().await;
                if frame["typing"].is_object() {
                    return frame["typing"].clone();
                }
            }
        };
        in_time(found).await
    }

    /// What the node gave for the next chat, when this one began.
    #[must_use]
    pub fn resume(&self) -> &str {
        &self.resume
    }

    /// Whether the node said that what this chat was to begin with says nothing any more.
    #[must_use]
    pub fn was_reset(&self) -> bool {
        self.reset
    }

    /// The next thing that the node gives for the next chat, and what came before it.
    ///
    /// # Panics
    /// When none comes in time.
    pub async fn given(&mut self) -> (String, Vec<Value>) {
        let mut before = Vec::new();
        let given = async {
            loop {
                let frame = self.next().await;
                if let Some(resume) = frame["resume"].as_str() {
                    return resume.to_owned();
                }
                before.push(frame);
            }
        };
        (in_time(given).await, before)
    }

    /// Watches these users from now on, and no others.
    ///
    /// # Panics
    /// When the link is gone.
    pub async fn watch(&mut self, users: &[&str]) {
        let frame = json!({ "connection_id": self.connection, "watch": { "users": users } });
        self.raw(&frame.to_string()).await;
    }

    /// The next news of those who are watched; everything else is passed over.
    ///
    /// # Panics
    /// When none comes in time.
    pub async fn heard_presence(&mut self) -> Vec<Value> {
        let found = async {
            loop {
                let frame = self.next().await;
                if let Some(news) = frame["presence"].as_array() {
                    return news.clone();
                }
            }
        };
        in_time(found).await
    }

    /// Leaves as a browser does.
    pub async fn leave(mut self) {
        // The other side may have been faster.
        let _ = self.sink.close().await;
        let _ = in_time(&mut self.reading).await;
    }

    /// Stops reading, and so answering pings, with the socket left open: what a client that hangs looks like.
    pub fn freeze(&mut self) {
        self.reading.abort();
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// What `future` comes to.
///
/// # Panics
/// When that takes too long.
pub async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("something happens in time")
}

/// The payload items of a frame or page, live or caught up.
#[must_use]
pub fn items(frame: &Value) -> Vec<Value> {
    let of = |frame: &Value| frame["payload"].as_array().cloned().unwrap_or_default();
    let mut all = of(frame);
    for message in frame["messages"].as_array().into_iter().flatten() {
        all.extend(of(message));
    }
    all
}
