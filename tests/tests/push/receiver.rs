//! A server that somebody else runs: plain HTTP/1.1, records what it is asked and answers as it is told.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::Value;
use tests::in_time;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// What it says to one request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reply {
    /// This status.
    Status(u16),
    /// Nothing, and the connection stays open.
    Silence,
}

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a body of JSON")
    }

    /// Number and sequence of a webhook's notice.
    pub(crate) fn notice(&self) -> (u64, u64) {
        let body = self.json();
        let number = |field: &str| body[field].as_u64().expect("a number");
        (number("seq"), number("sequence"))
    }
}

/// See the module.
pub(crate) struct Receiver {
    address: SocketAddr,
    heard: UnboundedReceiver<Asked>,
    script: Arc<Mutex<Script>>,
}

struct Script {
    next: VecDeque<Reply>,
    otherwise: Reply,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let script = Script { next: VecDeque::new(), otherwise: Reply::Status(200) };
        let script = Arc::new(Mutex::new(script));
        let (tell, heard) = unbounded_channel();
        let shared = Arc::clone(&script);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, tell.clone(), Arc::clone(&shared)));
            }
        });
        Self { address, heard, script }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What it says to the next requests.
    pub(crate) async fn script(&self, replies: &[Reply]) {
        self.script.lock().await.next.extend(replies);
    }

    /// What it says when the script is at its end.
    pub(crate) async fn otherwise(&self, reply: Reply) {
        self.script.lock().await.otherwise = reply;
    }

    /// The next request.
    pub(crate) async fn next(&mut self) -> Asked {
        in_time(self.heard.recv()).await.expect("the server runs")
    }

    /// A request that has come already.
    pub(crate) fn already(&mut self) -> Option<Asked> {
        self.heard.try_recv().ok()
    }
}

async fn serve(mut stream: TcpStream, tell: UnboundedSender<Asked>, script: Arc<Mutex<Script>>) {
    let Some(asked) = read(&mut stream).await else { return };
    let reply = {
        let mut script = script.lock().await;
        let otherwise = script.otherwise;
        script.next.pop_front().unwrap_or(otherwise)
    };
    if tell.send(asked).is_err() {
        return;
    }
    match reply {
        Reply::Status(status) => {
            let answer =
                format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
        Reply::Silence => {
            // Until the other side has enough.
            let _ = stream.read_u8().await;
        }
    }
}

async fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8(bytes[..head].to_vec()).ok()?;
    let mut lines = text.split("\r\n");
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let named = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    let headers: Vec<(String, String)> = lines.filter_map(named).collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: usize = length.map_or(Some(0), |(_, value)| value.parse().ok())?;
    let mut body = bytes.split_off(head + 4);
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some(Asked { path, headers, body })
}
