//! The smallest HTTP client that can be wrong: one request, one connection, plain text.

use std::fmt::Write as _;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What a server answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Header lines, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; an empty one is null, one that does not claim to be JSON a text.
    ///
    /// # Panics
    /// When it is something else.
    #[must_use]
    pub fn json(&self) -> Value {
        if self.body.is_empty() {
            return Value::Null;
        }
        let text = String::from_utf8_lossy(&self.body);
        if self.header("content-type").is_some_and(|media_type| !media_type.contains("json")) {
            return Value::String(text.into_owned());
        }
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text}"))
    }
}

/// One request over plain HTTP. `None` when nobody answers.
pub async fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    bearer: Option<&str>,
    body: &str,
) -> Option<Answer> {
    let stream = TcpStream::connect(address).await.ok()?;
    request_over(stream, (method, path), bearer, body).await
}

/// One request over an open stream, plain or not. `None` when nobody answers.
pub async fn request_over<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    (method, path): (&str, &str),
    bearer: Option<&str>,
    body: &str,
) -> Option<Answer> {
    let bearer =
        bearer.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{bearer}\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    parse(answer)
}

fn parse(mut answer: Vec<u8>) -> Option<Answer> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let named = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    let headers = head.split("\r\n").skip(1).filter_map(named).collect();
    Some(Answer { status, headers, body: answer.split_off(end + 4) })
}

/// One request over plain HTTP with any headers and any bytes. The answer is read from the moment that the request
/// begins, and survives a server that does not want all of it. `None` when nobody answers.
pub async fn exchange(
    address: SocketAddr,
    (method, path): (&str, &str),
    headers: &[(&str, &str)],
    body: &[u8],
) -> Option<Answer> {
    let stream = TcpStream::connect(address).await.ok()?;
    let (mut from, mut to) = stream.into_split();
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    for (name, value) in headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    let _ = write!(head, "Content-Length: {}\r\n\r\n", body.len());
    let said = async {
        to.write_all(head.as_bytes()).await.ok()?;
        to.write_all(body).await.ok()
    };
    let mut answer = Vec::new();
    let heard = async {
        // A connection that is reset after the answer came is an answer.
        let _ = from.read_to_end(&mut answer).await;
    };
    futures::future::join(said, heard).await;
    parse(answer)
}

/// One request over plain HTTP: status and body. `None` when nobody answers.
pub async fn plain(
    address: SocketAddr,
    method: &str,
    path: &str,
    bearer: Option<&str>,
    body: &str,
) -> Option<(u16, Vec<u8>)> {
    request(address, method, path, bearer, body).await.map(|answer| (answer.status, answer.body))
}

/// One request with a JSON body and a JSON answer; an empty answer is null.
///
/// # Panics
/// When nobody answers, or with something else.
pub async fn json(
    address: SocketAddr,
    method: &str,
    path: &str,
    bearer: Option<&str>,
    body: Option<&Value>,
) -> (u16, Value) {
    let body = body.map_or_else(String::new, Value::to_string);
    let answer = request(address, method, path, bearer, &body).await.expect("the node answers");
    (answer.status, answer.json())
}

/// `text` as one segment of a path or one value of a query: everything but the unreserved is escaped (RFC 3986, 2.1).
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte));
            }
            other => {
                let _ = write!(escaped, "%{other:02X}");
            }
        }
    }
    escaped
}
