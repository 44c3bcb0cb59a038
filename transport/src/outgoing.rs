//! Requests to servers that are not ours: push services and the webhooks of users.
//!
//! Whoever names the URL may be hostile. So only what the world can reach is reached: every address that a name resolves
//! to is judged, and the connection goes to the address that was judged. No redirect is followed, no credential is sent
//! that the request does not hold, and an answer is bounded in time and size. Nothing is sent twice.

mod guard;
mod place;
mod pool;
mod trust;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::header::{HOST, RETRY_AFTER};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::TlsError;
use place::Place;

pub use pool::Pool;

/// A request and its whole answer take no longer.
const DEADLINE: Duration = Duration::from_secs(10);
/// Name, TCP and TLS take no longer.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// Bytes of an answer that are read: reasons are short, and nothing else is of interest.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// HTTP/2 connections that are kept for the next request; the few push services that there are, several times over.
const KEPT_MAX: usize = 32;
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;

/// What an outgoing client may do.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Authorities to trust, PEM; `None`: those of the system.
    pub authorities: Option<Vec<u8>>,
    /// Plain HTTP is allowed.
    pub allow_plain: bool,
    /// Addresses of private networks and of this machine are allowed.
    pub allow_private: bool,
}

/// A POST.
#[derive(Debug, Clone)]
pub struct Request {
    /// Where to: `https://…`.
    pub url: String,
    /// Header lines beside `host` and `content-length`.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Bytes,
}

/// What is sent, whoever asks.
struct Asked {
    method: hyper::Method,
    url: String,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
    /// Bytes of the answer's body that are read.
    answer_bytes_max: usize,
}

impl From<Request> for Asked {
    fn from(Request { url, headers, body }: Request) -> Self {
        let (method, answer_bytes_max) = (hyper::Method::POST, ANSWER_BYTES_MAX);
        Self { method, url, headers, body, answer_bytes_max }
    }
}

/// What the other server said.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status code.
    pub status: u16,
    /// How long it asks to be left alone, if it says that in seconds.
    pub retry_after: Option<Duration>,
    /// The first bytes of the body.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The URL cannot be used here, today or later: it is none, or plain where that is not allowed.
    #[error("the URL {0}")]
    Url(&'static str),
    /// The name stands for addresses that are not reached from here.
    #[error("the address is of a private network")]
    Private,
    /// Nobody answers there.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// The answer did not come or did not end; the request may have arrived.
    #[error("no answer: {0}")]
    Interrupted(String),
}

/// A client. Cheap to clone; clones share connections.
#[derive(Debug, Clone)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tls: Arc<rustls::ClientConfig>,
    allow_plain: bool,
    allow_private: bool,
    kept: Mutex<BTreeMap<String, http2::SendRequest<Full<Bytes>>>>,
}

/// A fresh connection.
enum Fresh {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

/// Whether a URL may be asked at all, as far as that can be said without resolving its name.
///
/// # Errors
/// [`Error::Url`] or [`Error::Private`].
pub fn check(url: &str, allow_plain: bool, allow_private: bool) -> Result<(), Error> {
    let place = Place::parse(url)?;
    if !place.tls && !allow_plain {
        return Err(Error::Url("must begin with https://"));
    }
    match place.address() {
        Some(address) if !allow_private && !guard::is_public(address) => Err(Error::Private),
        _ if !allow_private && place.is_local_name() => Err(Error::Private),
        _ => Ok(()),
    }
}

/// Scheme, host and port of a URL, as browsers write an origin.
///
/// # Errors
/// [`Error::Url`] when it is none.
pub fn origin(url: &str) -> Result<String, Error> {
    let place = Place::parse(url)?;
    Ok(format!("{}://{}", if place.tls { "https" } else { "http" }, place.authority()))
}

impl Client {
    /// A client by these rules.
    ///
    /// # Errors
    /// When the authorities cannot be used.
    pub fn new(config: &Config) -> Result<Self, TlsError> {
        let tls = trust::client_config(config.authorities.as_deref())?;
        let Config { allow_plain, allow_private, .. } = *config;
        let kept = Mutex::default();
        Ok(Self(Arc::new(Inner { tls, allow_plain, allow_private, kept })))
    }

    /// Sends one request and reads its answer, within the deadline.
    ///
    /// # Errors
    /// See [`Error`]. An answer of any status is none.
    pub async fn send(&self, request: Request) -> Result<Answer, Error> {
        self.ask(request.into()).await
    }

    /// Reads what is at a URL, within the deadline.
    ///
    /// # Errors
    /// See [`Error`]; also when it has more than `bytes_max` bytes. An answer of any status is none.
    pub async fn fetch(&self, url: &str, bytes_max: usize) -> Result<Answer, Error> {
        let asked = Asked {
            method: hyper::Method::GET,
            url: url.to_owned(),
            headers: Vec::new(),
            body: Bytes::new(),
            answer_bytes_max: bytes_max.saturating_add(1),
        };
        let answer = self.ask(asked).await?;
        match answer.body.len() > bytes_max {
            true => Err(Error::Interrupted(format!("more than {bytes_max} bytes"))),
            false => Ok(answer),
        }
    }

    async fn ask(&self, asked: Asked) -> Result<Answer, Error> {
        check(&asked.url, self.0.allow_plain, self.0.allow_private)?;
        let place = Place::parse(&asked.url)?;
        // Boxed: a connection in the making is large, and most callers hold many futures.
        timeout(DEADLINE, Box::pin(self.exchange(&place, asked)))
            .await
            .map_err(|_| Error::Interrupted("not in time".to_owned()))?
    }

    async fn exchange(&self, place: &Place, asked: Asked) -> Result<Answer, Error> {
        let most = asked.answer_bytes_max;
        if let Some(mut kept) = self.kept(place)
            && kept.ready().await.is_ok()
        {
            let request = compose(place, asked, true)?;
            return answer(kept.send_request(request).await, most).await;
        }
        match self.connect(place).await? {
            Fresh::One(mut sender) => {
                let request = compose(place, asked, false)?;
                answer(sender.send_request(request).await, most).await
            }
            Fresh::Two(mut sender) => {
                self.keep(place, &sender);
                let request = compose(place, asked, true)?;
                answer(sender.send_request(request).await, most).await
            }
        }
    }

    fn kept(&self, place: &Place) -> Option<http2::SendRequest<Full<Bytes>>> {
        let mut kept = self.0.kept.lock();
        kept.retain(|_, sender| !sender.is_closed());
        kept.get(&place.origin()).cloned()
    }

    fn keep(&self, place: &Place, sender: &http2::SendRequest<Full<Bytes>>) {
        let mut kept = self.0.kept.lock();
        if kept.len() < KEPT_MAX {
            kept.insert(place.origin(), sender.clone());
        }
    }

    async fn connect(&self, place: &Place) -> Result<Fresh, Error> {
        timeout(CONNECT_DEADLINE, self.connect_to(place))
            .await
            .map_err(|_| Error::Unreachable("not in time".to_owned()))?
    }

    async fn connect_to(&self, place: &Place) -> Result<Fresh, Error> {
        let stream = self.dial(place).await?;
        if !place.tls {
            return first(stream).await;
        }
        let name = ServerName::try_from(place.bare_host().to_owned())
            .map_err(|_| Error::Url("has a host that cannot be in a certificate"))?;
        let connector = TlsConnector::from(Arc::clone(&self.0.tls));
        let stream = connector.connect(name, stream).await.map_err(unreachable)?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return first(stream).await;
        }
        let io = TokioIo::new(stream);
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), io).await.map_err(unreachable)?;
        // Ends when the last sender is dropped or the other side closes.
        tokio::spawn(connection);
        Ok(Fresh::Two(sender))
    }

    /// Resolves the name, judges what it stands for, and connects to what was judged.
    async fn dial(&self, place: &Place) -> Result<TcpStream, Error> {
        let found = tokio::net::lookup_host((place.bare_host(), place.port));
        let found: Vec<SocketAddr> =
            found.await.map_err(unreachable)?.take(ADDRESSES_MAX).collect();
        if !self.0.allow_private && !found.iter().all(|address| guard::is_public(address.ip())) {
            return Err(Error::Private);
        }
        let mut last = Error::Unreachable("the name stands for nothing".to_owned());
        for address in found {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    return stream.set_nodelay(true).map(|()| stream).map_err(unreachable);
                }
                Err(error) => last = unreachable(error),
            }
        }
        Err(last)
    }
}

fn unreachable(error: impl std::fmt::Display) -> Error {
    Error::Unreachable(error.to_string())
}

/// HTTP/1.1 over an open stream.
async fn first<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
) -> Result<Fresh, Error> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(unreachable)?;
    // Ends when the sender is dropped or the other side closes.
    tokio::spawn(connection);
    Ok(Fresh::One(sender))
}

fn compose(place: &Place, asked: Asked, whole: bool) -> Result<hyper::Request<Full<Bytes>>, Error> {
    let built = hyper::Request::builder().method(asked.method);
    // HTTP/2 takes the authority from the URL, HTTP/1.1 from a header.
    let mut built = match whole {
        true => built.uri(asked.url),
        false => built.uri(&place.path).header(HOST, place.authority()),
    };
    for (name, value) in asked.headers {
        built = built.header(name, value);
    }
    built.body(Full::new(asked.body)).map_err(|_| Error::Url("or a header is not valid"))
}

async fn answer(
    sent: Result<hyper::Response<Incoming>, hyper::Error>,
    bytes_max: usize,
) -> Result<Answer, Error> {
    let interrupted = |error: &dyn std::fmt::Display| Error::Interrupted(error.to_string());
    let (head, body) = sent.map_err(|error| interrupted(&error))?.into_parts();
    let seconds = |value: &hyper::header::HeaderValue| value.to_str().ok()?.parse().ok();
    let retry_after = head.headers.get(RETRY_AFTER).and_then(seconds).map(Duration::from_secs);
    // An answer that is too long is still an answer: its status was said.
    let body = first_bytes(body, bytes_max).await;
    Ok(Answer { status: head.status.as_u16(), retry_after, body })
}

/// The first bytes of a body; what had come when it broke off.
async fn first_bytes(mut body: Incoming, bytes_max: usize) -> Bytes {
    let mut read = BytesMut::new();
    while read.len() < bytes_max
        && let Some(Ok(frame)) = body.frame().await
    {
        let Some(data) = frame.data_ref() else { continue };
        read.extend_from_slice(&data[..data.len().min(bytes_max - read.len())]);
    }
    read.freeze()
}

#[cfg(test)]
mod tests;
