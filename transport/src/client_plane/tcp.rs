//! The TCP side: accept, TLS, HTTP/1.1 and HTTP/2, each phase under its deadline.
//!
//! One task per connection; a WebSocket over HTTP/1.1 leaves it for a task of its own, after which this
//! one ends. Nagle's algorithm is off: frames are already gathered before they are written.

use std::{
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, extract::ConnectInfo, response::Response};
use hyper::{Request, body::Incoming};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    time::{Instant, sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::{
    Error, Plane,
    admission::Permit,
    patience::{PatientBody, PatientStream},
};
use crate::{ServerIdentity, TlsError};

/// Largest head of a request, bytes; the smallest that HTTP/1.1 buffers allow is half of it.
const HEADER_BYTES_MAX: usize = 16 << 10;
/// Header lines of one request.
const HEADERS_MAX: usize = 64;
/// Requests and links that one HTTP/2 connection may have open: a browser's tabs, not a fleet.
const H2_STREAMS_MAX: u32 = 32;
/// What an HTTP/2 peer may send before it is read, per stream and per connection, bytes.
const H2_STREAM_WINDOW_BYTES: u32 = 256 << 10;
const H2_CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// What one HTTP/2 stream may have waiting to be sent, bytes.
const H2_SEND_BYTES_MAX: usize = 64 << 10;
/// HTTP/2 pings tell a dead connection that has no link on it.
const H2_PING: Duration = Duration::from_secs(5);
/// Pause after a failed accept (no file descriptors left): others have to end first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How bytes become a stream that HTTP can run on.
#[derive(Clone)]
pub(super) struct Acceptor(Option<TlsAcceptor>);

impl Acceptor {
    pub(super) fn tls(identity: &ServerIdentity) -> Result<Self, TlsError> {
        Ok(Self(Some(TlsAcceptor::from(identity.tcp_config()?))))
    }

    pub(super) fn plain() -> Self {
        Self(None)
    }
}

pub(super) async fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })
}

pub(super) fn local_address(
    listener: &TcpListener,
    address: SocketAddr,
) -> Result<SocketAddr, Error> {
    listener.local_addr().map_err(|source| Error::Listen { address, source })
}

/// One TCP connection as its requests and links see it.
pub(super) struct Connection {
    pub(super) peer: SocketAddr,
    used: AtomicBool,
    _permit: Permit,
}

/// Accepts until the plane stops. Never waits for a single connection.
pub(super) async fn accept(
    plane: Arc<Plane>,
    listener: TcpListener,
    acceptor: Acceptor,
    router: Router,
) {
    let stop = plane.stop.clone();
    let mut stopped = pin!(stop.cancelled());
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stopped => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(permit) = plane.admission.admit(peer.ip()) else {
            continue;
        };
        let connection =
            Arc::new(Connection { peer, used: AtomicBool::new(false), _permit: permit });
        let task =
            handshake(Arc::clone(&plane), connection, stream, acceptor.clone(), router.clone());
        plane.tasks.spawn(task);
    }
}

async fn handshake(
    plane: Arc<Plane>,
    connection: Arc<Connection>,
    stream: TcpStream,
    acceptor: Acceptor,
    router: Router,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection ended before it began");
        return;
    }
    let Some(acceptor) = acceptor.0 else {
        return Box::pin(serve(&plane, connection, stream, router)).await;
    };
    let accepting = timeout(plane.limits.handshake, acceptor.accept(stream));
    match plane.stop.run_until_cancelled(accepting).await {
        // Boxed: the handshake's state must not stay allocated beside what follows.
        Some(Ok(Ok(stream))) => Box::pin(serve(&plane, connection, stream, router)).await,
        Some(Ok(Err(error))) => tracing::debug!(%error, peer = %connection.peer, "no TLS"),
        Some(Err(_)) => tracing::debug!(peer = %connection.peer, "TLS handshake took too long"),
        None => {}
    }
}

/// Serves requests until the peer leaves, a deadline passes or the plane stops.
async fn serve<S>(plane: &Arc<Plane>, connection: Arc<Connection>, stream: S, router: Router)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let builder = builder(plane);
    let pause = plane.limits.body_pause;
    let service = hyper::service::service_fn({
        let connection = Arc::clone(&connection);
        move |request| answer(router.clone(), Arc::clone(&connection), pause, request)
    });
    let io = TokioIo::new(PatientStream::new(stream, pause));
    let mut serving = pin!(builder.serve_connection_with_upgrades(io, service));
    let mut deadline = pin!(sleep(plane.limits.first_stream));
    let mut stop = pin!(plane.stop.cancelled());
    let mut phase = Phase::First;
    loop {
        tokio::select! {
            biased;
            ended = serving.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, peer = %connection.peer, "an HTTP connection failed");
                }
                return;
            }
            () = deadline.as_mut(), if phase != Phase::Used => {
                if phase == Phase::Stopping || !connection.used.load(Ordering::Relaxed) {
                    tracing::debug!(peer = %connection.peer, ?phase, "an HTTP connection is cut");
                    return;
                }
                phase = Phase::Used;
            }
            () = stop.as_mut(), if phase != Phase::Stopping => {
                phase = Phase::Stopping;
                serving.as_mut().graceful_shutdown();
                deadline.as_mut().reset(Instant::now() + plane.limits.stop);
            }
        }
    }
}

/// What a connection's deadline is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The first request has to come.
    First,
    /// Requests came; HTTP's own deadlines rule.
    Used,
    /// Open requests have to end.
    Stopping,
}

fn builder(plane: &Plane) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(plane.limits.header)
        .max_buf_size(HEADER_BYTES_MAX)
        .max_headers(HEADERS_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .enable_connect_protocol()
        .keep_alive_interval(H2_PING)
        .keep_alive_timeout(H2_PING)
        .max_concurrent_streams(H2_STREAMS_MAX)
        .max_header_list_size(u32::try_from(HEADER_BYTES_MAX).expect("16 KiB"))
        .initial_stream_window_size(H2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(H2_CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(H2_SEND_BYTES_MAX);
    builder
}

async fn answer(
    router: Router,
    connection: Arc<Connection>,
    pause: Duration,
    mut request: Request<Incoming>,
) -> Result<Response, std::convert::Infallible> {
    connection.used.store(true, Ordering::Relaxed);
    request.extensions_mut().insert(ConnectInfo(connection.peer));
    request.extensions_mut().insert(connection);
    router.oneshot(request.map(|body| Body::new(PatientBody::new(body, pause)))).await
}
