//! The client plane: one TCP port and one UDP port for everybody who is not a node. Station 1, arrive.
//!
//! TCP carries TLS with HTTP/2 and HTTP/1.1: the caller's REST routes, and WebSocket links at `/chat`.
//! UDP carries QUIC links. Every phase has a deadline and every count a cap (see [`Limits`]), so that a
//! peer who says nothing, or too much, costs little and not for long.
//!
//! This station does not know users, tokens or frames: it hands over links and requests as they are.

mod admission;
mod chat;
mod patience;
mod tcp;
mod udp;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::future::{AbortHandle, Abortable, BoxFuture};
use parking_lot::Mutex;
use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::admission::Admission;
pub(crate) use self::udp::{bind as quic_socket, transport_config as quic_transport};
use crate::{
    CloseReason, Link, ServerIdentity, TlsError,
    link::{SILENCE_MAX, WRITE_DEADLINE},
};

/// What is done with a link once it stands; the link lives as long as the future.
pub type OnLink = Arc<dyn Fn(Link) -> BoxFuture<'static, ()> + Send + Sync>;

/// What a client plane needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address of the TCP and UDP port; port 0 takes one that is free for both.
    pub listen: SocketAddr,
    /// Plain HTTP for browsers on this machine; has to be a loopback address.
    pub plain_listen: Option<SocketAddr>,
    /// What the listeners show.
    pub tls: ServerIdentity,
    /// Caps and deadlines.
    pub limits: Limits,
}

/// Caps and deadlines of a client plane. The defaults are what production runs with.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections in total, links and requests alike. 20,000 idle ones cost about a gigabyte.
    pub connections_max: usize,
    /// Connections of one address: enough for a large office behind one address, or a load test.
    pub connections_per_address_max: usize,
    /// From the first packet to a finished TLS or QUIC handshake.
    pub handshake: Duration,
    /// For the head of an HTTP request; an idle HTTP/1.1 connection is closed after the same time.
    pub header: Duration,
    /// From a finished handshake to the first request, or to the first stream of a QUIC connection.
    pub first_stream: Duration,
    /// Between two pieces of a request's body, and for the next piece of an answer to be taken.
    pub body_pause: Duration,
    /// Silence after which the peer of a link is taken for dead.
    pub silence: Duration,
    /// For each started 64 KiB that the peer of a link is sent.
    pub write: Duration,
    /// How long links and requests may go on after the plane was told to stop.
    pub stop: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 20_000,
            connections_per_address_max: 4_096,
            handshake: Duration::from_secs(5),
            header: Duration::from_secs(5),
            first_stream: Duration::from_secs(5),
            body_pause: Duration::from_secs(10),
            silence: SILENCE_MAX,
            write: WRITE_DEADLINE,
            stop: Duration::from_secs(3),
        }
    }
}

/// Why a client plane could not start. Nothing is left listening.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address could not be bound.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The identity cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Plain HTTP was asked for on an address that others can reach.
    #[error("plain HTTP is only served on loopback, not on {0}")]
    PlainNotLoopback(SocketAddr),
}

/// A running client plane.
#[derive(Debug)]
pub struct Handle {
    address: SocketAddr,
    plain_address: Option<SocketAddr>,
    supervisor: tokio::task::JoinHandle<()>,
}

impl Handle {
    /// Where TCP and UDP are served.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where plain HTTP is served.
    #[must_use]
    pub fn plain_address(&self) -> Option<SocketAddr> {
        self.plain_address
    }

    /// Waits until everything has ended after `stop` was cancelled; bounded by the stop deadline.
    pub async fn stopped(self) {
        if let Err(error) = self.supervisor.await {
            tracing::error!(%error, "the client plane's supervisor failed");
        }
    }
}

/// Serves clients until `stop` is cancelled. `router` answers REST and must not have a route `/chat`:
/// that one is added here. Requests carry `axum::extract::ConnectInfo<SocketAddr>`.
///
/// # Errors
/// See [`Error`]; nothing is left listening.
pub async fn serve(
    config: Config,
    router: axum::Router,
    on_link: OnLink,
    stop: CancellationToken,
) -> Result<Handle, Error> {
    if let Some(address) = config.plain_listen.filter(|address| !address.ip().is_loopback()) {
        return Err(Error::PlainNotLoopback(address));
    }
    let acceptor = tcp::Acceptor::tls(&config.tls)?;
    let quic = udp::server_config(&config.tls, &config.limits)?;
    let (listener, socket) = bind(config.listen).await?;
    let plain = match config.plain_listen {
        Some(address) => Some(tcp::bind(address).await?),
        None => None,
    };
    let address = tcp::local_address(&listener, config.listen)?;
    let plain_address =
        plain.as_ref().map(|plain| tcp::local_address(plain, config.listen)).transpose()?;
    let endpoint = udp::endpoint(quic, socket)
        .map_err(|source| Error::Listen { address: config.listen, source })?;

    let plane = Arc::new(Plane {
        admission: Admission::new(
            config.limits.connections_max,
            config.limits.connections_per_address_max,
        ),
        limits: config.limits,
        on_link,
        stop,
        tasks: TaskTracker::new(),
        links: Links::default(),
    });
    let router = chat::add(router, &plane);
    plane.tasks.spawn(tcp::accept(Arc::clone(&plane), listener, acceptor, router.clone()));
    if let Some(plain) = plain {
        let acceptor = tcp::Acceptor::plain();
        plane.tasks.spawn(tcp::accept(Arc::clone(&plane), plain, acceptor, router));
    }
    plane.tasks.spawn(udp::accept(Arc::clone(&plane), endpoint.clone()));
    let supervisor = tokio::spawn(supervise(plane, endpoint));
    Ok(Handle { address, plain_address, supervisor })
}

/// Attempts at finding a port that is free for TCP and UDP when any will do.
const PORT_ATTEMPTS: u32 = 32;

async fn bind(
    address: SocketAddr,
) -> Result<(tokio::net::TcpListener, std::net::UdpSocket), Error> {
    let mut attempt = 1;
    loop {
        let listener = tcp::bind(address).await?;
        let bound = tcp::local_address(&listener, address)?;
        match udp::bind(bound) {
            Ok(socket) => return Ok((listener, socket)),
            Err(_) if address.port() == 0 && attempt < PORT_ATTEMPTS => attempt += 1,
            Err(source) => {
                return Err(Error::Listen { address: bound, source });
            }
        }
    }
}

/// What all connections of one plane share.
pub(crate) struct Plane {
    limits: Limits,
    on_link: OnLink,
    stop: CancellationToken,
    tasks: TaskTracker,
    admission: Admission,
    links: Links,
}

impl Plane {
    /// Runs one link to its end, or until the plane's patience after a stop is over.
    async fn run_link(&self, link: Link) {
        metrics::counter!("synod_links_total", "kind" => link.kind.name()).increment(1);
        let (entry, registration) = self.links.enter();
        let _ = Abortable::new((self.on_link)(link), registration).await;
        drop(entry);
    }
}

/// The links that run, so that a stop can end those who do not end themselves.
#[derive(Default)]
struct Links {
    next: AtomicU64,
    running: Mutex<BTreeMap<u64, AbortHandle>>,
}

struct Entry<'a> {
    links: &'a Links,
    id: u64,
}

impl Links {
    fn enter(&self) -> (Entry<'_>, futures::future::AbortRegistration) {
        let (handle, registration) = AbortHandle::new_pair();
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.running.lock().insert(id, handle);
        (Entry { links: self, id }, registration)
    }

    fn abort_all(&self) {
        for handle in self.running.lock().values() {
            handle.abort();
        }
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.links.running.lock().remove(&self.id);
    }
}

/// How long the last packets may take once everything was told to end.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Waits for the stop, then ends everything within `Limits::stop` and a little.
async fn supervise(plane: Arc<Plane>, endpoint: quinn::Endpoint) {
    plane.stop.cancelled().await;
    plane.tasks.close();
    if timeout(plane.limits.stop, plane.tasks.wait()).await.is_err() {
        tracing::warn!("links did not end in time after a stop; they are cut");
    }
    endpoint.close(u32::from(CloseReason::GoingAway.code()).into(), &[]);
    plane.links.abort_all();
    let _ = timeout(LAST_WORDS, plane.tasks.wait()).await;
    let _ = timeout(LAST_WORDS, endpoint.wait_idle()).await;
}
