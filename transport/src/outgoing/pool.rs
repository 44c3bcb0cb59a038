//! Requests with large bodies to servers that the operator names: object stores.
//!
//! Unlike [`Client`](super::Client) it may reach any address and streams both ways; it keeps a bounded number of idle
//! connections. It follows no redirect and repeats nothing: whoever asks knows what may be repeated.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::Uri;
use hyper::body::{Body, Incoming};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::place::Place;
use super::{CONNECT_DEADLINE, Error, trust, unreachable};
use crate::TlsError;

/// Idle connections that are kept for one server: as many as there are transfers at a time.
const IDLE_MAX: usize = 8;
/// How long they are kept: less than servers wait.
const IDLE_FOR: Duration = Duration::from_secs(15);

/// A client with kept connections. Cheap to clone; clones share them. `B` is the body of requests.
#[derive(Debug, Clone)]
pub struct Pool<B>(legacy::Client<Dialer, B>);

/// Makes connections.
#[derive(Debug, Clone)]
struct Dialer {
    tls: Arc<rustls::ClientConfig>,
    allow_plain: bool,
}

/// A connection of either kind.
#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl<B> Pool<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// A client that trusts these authorities, PEM, or those of the system.
    ///
    /// # Errors
    /// When the authorities cannot be used.
    pub fn new(authorities: Option<&[u8]>, allow_plain: bool) -> Result<Self, TlsError> {
        let mut tls = trust::client_config(authorities)?.as_ref().clone();
        // A stream of HTTP/2 would share its connection's window: bulk is better off with one each.
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let dialer = Dialer { tls: Arc::new(tls), allow_plain };
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(IDLE_MAX)
            .pool_idle_timeout(IDLE_FOR)
            .pool_timer(TokioTimer::new())
            .retry_canceled_requests(false)
            .build(dialer);
        Ok(Self(client))
    }

    /// Sends one request. The answer's body comes as it is read; how long that may take is for the caller to say.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when nobody can have got it, [`Error::Interrupted`] when somebody may.
    pub async fn send(
        &self,
        request: hyper::Request<B>,
    ) -> Result<hyper::Response<Incoming>, Error> {
        self.0.request(request).await.map_err(|error| match error.is_connect() {
            true => Error::Unreachable(told(&error)),
            false => Error::Interrupted(told(&error)),
        })
    }
}

/// An error with what it comes from: the outermost says nothing.
fn told(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        told = format!("{told}: {inner}");
        source = inner.source();
    }
    told
}

impl Dialer {
    async fn dial(self, uri: Uri) -> Result<Stream, Error> {
        let place = Place::parse(&uri.to_string())?;
        if !place.tls && !self.allow_plain {
            return Err(Error::Url("must begin with https://"));
        }
        let stream = TcpStream::connect((place.bare_host(), place.port));
        let stream = stream.await.map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        if !place.tls {
            return Ok(Stream::Plain(stream));
        }
        let name = ServerName::try_from(place.bare_host().to_owned())
            .map_err(|_| Error::Url("has a host that cannot be in a certificate"))?;
        let stream = TlsConnector::from(self.tls).connect(name, stream).await;
        Ok(Stream::Tls(Box::new(stream.map_err(unreachable)?)))
    }
}

impl tower::Service<Uri> for Dialer {
    type Response = TokioIo<Stream>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dialed = timeout(CONNECT_DEADLINE, self.clone().dial(uri));
        Box::pin(async move {
            let dialed = dialed.await.map_err(|_| Error::Unreachable("not in time".to_owned()))?;
            dialed.map(TokioIo::new)
        })
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
