//! A small HTTPS/1.1 client for the REST side of the client plane: JSON in, bytes out, keep-alive.
//!
//! It knows one kind of body and follows no redirect. It repeats a request by itself only if a kept
//! connection turns out to have ended, and then only what was not sent or may safely be sent twice.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request,
    client::conn::http1::{self, SendRequest},
    header::{AUTHORIZATION, CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::time::{Instant, timeout, timeout_at};

use crate::{
    ClientTls, DialError,
    dial::{DIAL_DEADLINE, bearer_value, connect},
};

pub use hyper::{HeaderMap, Method};

/// Largest body of an answer, bytes.
pub const BODY_BYTES_MAX: usize = 16 << 20;
/// How long a request and its answer may take when the caller does not say otherwise.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);
/// Connections kept per address while nobody uses them.
const IDLE_MAX: usize = 8;
/// Kept no longer than this: a server closes idle connections after 5 s, and a request that meets the
/// closing may or may not have been read.
const IDLE_TIME_MAX: Duration = Duration::from_secs(4);

/// A client that keeps connections open between requests. Cheap to clone; clones share connections.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    tls: ClientTls,
    deadline: Duration,
    idle: Mutex<BTreeMap<SocketAddr, Vec<Idle>>>,
}

#[derive(Debug)]
struct Idle {
    sender: SendRequest<Full<Bytes>>,
    since: Instant,
}

/// A complete answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// HTTP status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, at most [`BODY_BYTES_MAX`].
    pub body: Bytes,
}

impl Client {
    /// A client that trusts `tls` and waits 10 s for an answer.
    #[must_use]
    pub fn new(tls: ClientTls) -> Self {
        Self::with_deadline(tls, ANSWER_DEADLINE)
    }

    /// A client that waits so long for an answer.
    #[must_use]
    pub fn with_deadline(tls: ClientTls, deadline: Duration) -> Self {
        Self { inner: Arc::new(Inner { tls, deadline, idle: Mutex::default() }) }
    }

    /// Sends one request and reads the whole answer within the deadline. `path` begins with `/` and may
    /// have a query; `json` is sent as `application/json`.
    ///
    /// # Errors
    /// See [`DialError`]; `certainty()` tells whether the request may have had an effect. An answer of
    /// any status is no error.
    pub async fn request(
        &self,
        method: Method,
        address: SocketAddr,
        path: &str,
        bearer: Option<&str>,
        json: Option<Bytes>,
    ) -> Result<Response, DialError> {
        let mut request =
            Request::builder().method(method).uri(path).header(HOST, address.to_string());
        if let Some(token) = bearer {
            request = request.header(AUTHORIZATION, bearer_value(token)?);
        }
        if json.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(Full::new(json.unwrap_or_default()))
            .map_err(|error| DialError::Protocol(error.to_string()))?;
        self.exchange(address, request).await
    }

    /// Sends any request; the connection is taken from the idle ones or made.
    async fn exchange(
        &self,
        address: SocketAddr,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response, DialError> {
        let deadline = Instant::now() + self.inner.deadline;
        loop {
            let (mut sender, reused) = match self.take_idle(address) {
                Some(sender) => (sender, true),
                None => (self.dial(address).await?, false),
            };
            // What changes nothing when it happens twice may be sent again if a kept connection breaks.
            let again = (reused && request.method().is_idempotent()).then(|| request.clone());
            let sent = timeout_at(deadline, sender.try_send_request(request))
                .await
                .map_err(|_| DialError::Interrupted("no answer in time".into()))?;
            let response = match sent {
                Ok(response) => response,
                Err(mut error) => {
                    let unsent = error.take_message();
                    let definite = unsent.is_some();
                    let detail = error.into_error().to_string();
                    match unsent.or(again) {
                        Some(next) if reused => {
                            request = next;
                            continue;
                        }
                        _ if definite => return Err(DialError::Unreachable { address, detail }),
                        _ => return Err(DialError::Interrupted(detail)),
                    }
                }
            };
            let (head, body) = response.into_parts();
            let body = timeout_at(deadline, Limited::new(body, BODY_BYTES_MAX).collect())
                .await
                .map_err(|_| DialError::Interrupted("the answer did not end in time".into()))?
                .map_err(|error| DialError::Interrupted(error.to_string()))?;
            self.keep_idle(address, sender);
            let body = body.to_bytes();
            return Ok(Response { status: head.status.as_u16(), headers: head.headers, body });
        }
    }

    async fn dial(&self, address: SocketAddr) -> Result<SendRequest<Full<Bytes>>, DialError> {
        let dialling = async {
            let stream = connect(&self.inner.tls, address).await?;
            let (sender, connection) = http1::handshake(TokioIo::new(stream))
                .await
                .map_err(|error| DialError::Unreachable { address, detail: error.to_string() })?;
            // Ends when the sender is dropped or the server closes.
            tokio::spawn(connection);
            Ok(sender)
        };
        let within = DIAL_DEADLINE.min(self.inner.deadline);
        timeout(within, Box::pin(dialling)).await.map_err(|_| DialError::TimedOut { address })?
    }

    fn take_idle(&self, address: SocketAddr) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.inner.idle.lock();
        let of_address = idle.get_mut(&address)?;
        of_address.retain(|idle| idle.since.elapsed() < IDLE_TIME_MAX && !idle.sender.is_closed());
        of_address.pop().map(|idle| idle.sender)
    }

    fn keep_idle(&self, address: SocketAddr, sender: SendRequest<Full<Bytes>>) {
        let mut idle = self.inner.idle.lock();
        let of_address = idle.entry(address).or_default();
        if of_address.len() < IDLE_MAX && !sender.is_closed() {
            of_address.push(Idle { sender, since: Instant::now() });
        }
    }
}
