//! The listening end: accepts peers, and answers the calls of each of their streams.
//!
//! A stream is served by the task that hyper runs for its response and by no other: polling the
//! response reads requests, invokes the handler in their order, polls the calls under way, and yields
//! whatever answers are ready as one batch. An answer that cannot be sent stops the reading, which
//! is the backpressure. No task is spawned for a call.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use parking_lot::RwLock;
use proto::peer::{Batch, Packet, packet::Kind};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::{Status, Streaming, transport::server::Connected};

use super::{
    DiskState, Lane, PeerHandler, RefusedLinks, code,
    detector::Detector,
    gate::Gated,
    identity,
    limits::{
        BATCH_BYTES_MAX, CALLS_MAX, DIAL_PATIENCE, HANDSHAKE_PATIENCE, HANDSHAKES_MAX,
        PACKET_BYTES_MAX,
    },
    pace::Pace,
    peers::{Peer, Peers},
};

/// Batches read in one go before answers get their turn.
const BATCHES_PER_TURN: usize = 16;

/// What every accepted connection shares.
pub(super) struct Inbound {
    pub(super) cluster: String,
    pub(super) peers: Arc<Peers>,
    pub(super) detector: Arc<Detector>,
    pub(super) handler: Arc<dyn PeerHandler>,
    pub(super) heartbeat: std::time::Duration,
    pub(super) refused: Refused,
    /// What the next handshake shows and trusts.
    pub(super) tls: RwLock<Arc<ServerConfig>>,
}

/// Counts of connections that got no answer.
#[derive(Default)]
pub(super) struct Refused {
    handshake: AtomicU64,
    not_a_peer: AtomicU64,
    too_many: AtomicU64,
}

impl Refused {
    pub(super) fn read(&self) -> RefusedLinks {
        RefusedLinks {
            handshake: self.handshake.load(Ordering::Relaxed),
            not_a_peer: self.not_a_peer.load(Ordering::Relaxed),
            too_many: self.too_many.load(Ordering::Relaxed),
        }
    }
}

/// Accepts connections until `stop` and hands the admitted ones on.
pub(super) async fn accept(
    inbound: Arc<Inbound>,
    listener: TcpListener,
    admitted: mpsc::Sender<io::Result<Wire>>,
    stop: CancellationToken,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    loop {
        let Ok(place) = handshakes.clone().acquire_owned().await else {
            return;
        };
        let stream = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors, or a connection that ended in the queue: not fatal.
                    tracing::warn!(%error, "cannot accept a peer connection");
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                    continue;
                }
            },
        };
        let (inbound, admitted) = (inbound.clone(), admitted.clone());
        let stop = stop.clone();
        tokio::spawn(async move {
            let _place = place;
            let admission = tokio::time::timeout(
                HANDSHAKE_PATIENCE + 2 * DIAL_PATIENCE,
                admit(&inbound, stream),
            );
            tokio::select! {
                () = stop.cancelled() => {}
                outcome = admission => if let Ok(Some(wire)) = outcome {
                    // The receiver ends only when the plane stops.
                    let _ = admitted.send(Ok(wire)).await;
                },
            }
        });
    }
}

/// Finds out whose connection this is. `None`: nobody's, and it gets no answer.
async fn admit(inbound: &Inbound, stream: TcpStream) -> Option<Wire> {
    let from = stream.peer_addr().ok();
    stream.set_nodelay(true).ok()?;
    let tls = inbound.tls.read().clone();
    let handshake = TlsAcceptor::from(tls).accept(Gated::new(stream, None));
    let tls = match tokio::time::timeout(HANDSHAKE_PATIENCE, handshake).await {
        Ok(Ok(tls)) => tls,
        Ok(Err(error)) => {
            inbound.refused.handshake.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(?from, %error, "refused a peer connection in its handshake");
            return None;
        }
        Err(_) => {
            inbound.refused.handshake.fetch_add(1, Ordering::Relaxed);
            return None;
        }
    };
    let chain = tls.get_ref().1.peer_certificates().unwrap_or_default();
    let known = inbound.peers.all();
    let mut named = known.into_iter().filter(|p| identity::names(chain, p.node, &inbound.cluster));
    // A certificate that names two nodes is nobody's.
    let (Some(peer), None) = (named.next(), named.next()) else {
        inbound.refused.not_a_peer.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(?from, "refused a connection whose certificate names no peer");
        return None;
    };
    let Ok(place) = peer.connections.clone().try_acquire_owned() else {
        inbound.refused.too_many.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(peer = peer.node, "refused one more connection of a peer");
        return None;
    };
    let mut wire = Wire { tls, peer: peer.clone(), _place: place };
    wire.tls.get_mut().0.attach(peer.gate.clone());
    // A cut peer's new connection hangs like everything else of it.
    peer.gate.open().await;
    Some(wire)
}

/// One accepted connection whose caller is known.
pub(super) struct Wire {
    tls: TlsStream<Gated>,
    peer: Arc<Peer>,
    _place: OwnedSemaphorePermit,
}

/// Whose connection it is; tonic puts it beside every request.
#[derive(Clone)]
pub(super) struct WireInfo {
    pub(super) peer: Arc<Peer>,
}

impl Connected for Wire {
    type ConnectInfo = WireInfo;

    fn connect_info(&self) -> WireInfo {
        WireInfo { peer: self.peer.clone() }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.tls.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }
}

/// One lane's stream of one caller: requests in, answers out.
pub(super) struct Exchange {
    inbound: Arc<Inbound>,
    peer: Arc<Peer>,
    lane: Lane,
    requests: Option<Streaming<Batch>>,
    running: FuturesUnordered<Running>,
    ready: Vec<Packet>,
    ready_bytes: usize,
    pace: Option<Pace>,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Exchange {
    pub(super) fn new(
        inbound: Arc<Inbound>,
        peer: Arc<Peer>,
        lane: Lane,
        requests: Streaming<Batch>,
    ) -> Exchange {
        let pace = (lane == Lane::Raft).then(|| Pace::new(inbound.heartbeat));
        let stop = Box::pin(peer.stop.clone().cancelled_owned());
        Exchange {
            inbound,
            peer,
            lane,
            requests: Some(requests),
            running: FuturesUnordered::new(),
            ready: Vec::new(),
            ready_bytes: 0,
            pace,
            stop,
        }
    }

    /// Reads what has arrived and invokes the handler for each request, in order.
    fn read(&mut self, cx: &mut Context<'_>) {
        for _ in 0..BATCHES_PER_TURN {
            let Some(requests) = &mut self.requests else {
                return;
            };
            match requests.poll_next_unpin(cx) {
                Poll::Pending => return,
                Poll::Ready(Some(Ok(batch))) => {
                    self.inbound.detector.heard(&self.peer);
                    if self.lane == Lane::Raft {
                        self.peer.disk.set(DiskState { slow: batch.slow, full: batch.full });
                    }
                    batch.packets.into_iter().for_each(|packet| self.begin(packet));
                }
                Poll::Ready(Some(Err(status))) => {
                    tracing::debug!(peer = self.peer.node, %status, "a peer's stream broke");
                    self.requests = None;
                    self.running.clear();
                }
                Poll::Ready(None) => self.requests = None,
            }
        }
        // More may be there: come back after the answers had their turn.
        cx.waker().wake_by_ref();
    }

    fn begin(&mut self, packet: Packet) {
        let call = packet.call;
        match packet.kind {
            Some(Kind::Heartbeat(_)) => {}
            Some(Kind::Request(_)) if self.running.len() >= CALLS_MAX => {
                self.answer(call, Err(code::OVERLOADED.to_owned()));
            }
            Some(Kind::Request(request)) => {
                let answer = self.inbound.handler.call(self.peer.node, self.lane, request);
                self.running.push(Running { call, answer });
            }
            Some(Kind::Response(_) | Kind::Failure(_)) | None => {
                self.answer(call, Err(code::MALFORMED.to_owned()));
            }
        }
    }

    fn answer(&mut self, call: u64, answer: Result<Bytes, String>) {
        // The caller wants no answer.
        if call == 0 {
            return;
        }
        let kind = match answer {
            Ok(body) if body.len() <= PACKET_BYTES_MAX => Kind::Response(body),
            Ok(_) => Kind::Failure(code::TOO_LARGE.to_owned()),
            Err(code) => Kind::Failure(code),
        };
        self.ready_bytes += match &kind {
            Kind::Response(body) => body.len(),
            _ => 0,
        };
        self.ready.push(Packet { call, kind: Some(kind) });
    }

    /// Collects answers until the batch is full or no call is ready.
    fn collect(&mut self, cx: &mut Context<'_>) {
        while self.ready_bytes < BATCH_BYTES_MAX {
            match self.running.poll_next_unpin(cx) {
                Poll::Ready(Some((call, answer))) => self.answer(call, answer),
                Poll::Ready(None) | Poll::Pending => return,
            }
        }
    }
}

impl Stream for Exchange {
    type Item = Result<Batch, Status>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Batch, Status>>> {
        let this = &mut *self;
        if this.stop.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        this.read(cx);
        this.collect(cx);
        if !this.ready.is_empty() {
            this.ready_bytes = 0;
            if let Some(pace) = &mut this.pace {
                pace.touch();
            }
            let packets = std::mem::take(&mut this.ready);
            return Poll::Ready(Some(Ok(Batch { packets, slow: false, full: false })));
        }
        if this.requests.is_none() && this.running.is_empty() {
            return Poll::Ready(None);
        }
        match &mut this.pace {
            Some(pace) => Poll::Ready(Some(Ok(ready!(pace.poll_heartbeat(cx))))),
            None => Poll::Pending,
        }
    }
}

/// A call under way at the handler.
struct Running {
    call: u64,
    answer: BoxFuture<'static, Result<Bytes, String>>,
}

impl Future for Running {
    type Output = (u64, Result<Bytes, String>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(self.answer.as_mut().poll(cx));
        Poll::Ready((self.call, answer))
    }
}
