//! The handle of the peer plane: what the node calls, and the tasks behind it.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{future::BoxFuture, stream::BoxStream};
use parking_lot::RwLock;
use tokio::{
    net::TcpListener,
    sync::{broadcast, mpsc},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::{
    Config, DiskState, Error, Identity, Lane, LinkFailure, Liveness, PeerError, PeerHandler,
    RefusedLinks, bulk,
    detector::Detector,
    identity,
    inbound::{self, Inbound, Wire},
    limits::{HANDSHAKES_MAX, PING_INTERVAL, PING_PATIENCE, TRANSFERS_MAX, WINDOW_BYTES},
    link::{self, Dialler},
    peers::{Peer, Peers},
    service::Service,
};

/// The peer plane of one node. Cheap to clone; every clone is the same plane.
#[derive(Clone)]
pub struct PeerPlane {
    shared: Arc<Shared>,
}

struct Shared {
    node: u64,
    local: SocketAddr,
    peers: Arc<Peers>,
    detector: Arc<Detector>,
    inbound: Arc<Inbound>,
    dialler: Arc<Dialler>,
    stop: CancellationToken,
}

/// What this node sees of one peer now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// The detector's opinion.
    pub alive: bool,
    /// Why each lane is down, in the order of [`Lane::ALL`]; `None` for a lane that is up or was
    /// never tried.
    pub failures: [Option<LinkFailure>; 3],
}

impl PeerPlane {
    /// Listens for peers and keeps links to all of them until `stop`.
    pub async fn serve(
        config: Config,
        handler: Arc<dyn PeerHandler>,
        stop: CancellationToken,
    ) -> Result<PeerPlane, Error> {
        check(&config)?;
        let (tls_server, tls_client) = config.identity.tls()?;
        let listener = TcpListener::bind(config.listen).await;
        let (listener, local) = listener
            .and_then(|l| l.local_addr().map(|a| (l, a)))
            .map_err(|source| Error::Listen { address: config.listen, source })?;
        let peers = Arc::new(Peers::default());
        let detector = Arc::new(Detector::new(config.heartbeat, config.dead_after));
        let inbound = Arc::new(Inbound {
            cluster: config.cluster.clone(),
            peers: peers.clone(),
            detector: detector.clone(),
            handler,
            heartbeat: config.heartbeat,
            refused: Default::default(),
            tls: RwLock::new(tls_server),
        });
        let dialler = Arc::new(Dialler {
            cluster: config.cluster,
            tls: RwLock::new(tls_client),
            detector: detector.clone(),
            heartbeat: config.heartbeat,
            dead_after: config.dead_after,
            disk: Arc::default(),
        });
        let shared = Shared { node: config.node, local, peers, detector, inbound, dialler, stop };
        let plane = PeerPlane { shared: Arc::new(shared) };
        plane.start(listener);
        for (node, address) in config.peers {
            plane.add_peer(node, address);
        }
        Ok(plane)
    }

    fn start(&self, listener: TcpListener) {
        let Shared { inbound, detector, peers, stop, .. } = &*self.shared;
        let (admitted, wires) = mpsc::channel(HANDSHAKES_MAX);
        tokio::spawn(inbound::accept(inbound.clone(), listener, admitted, stop.clone()));
        tokio::spawn(serve_wires(inbound.clone(), wires, stop.clone()));
        let (watch, stop) = (detector.clone().watch(peers.clone()), stop.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = watch => {}
            }
        });
    }

    /// Shows and trusts what this identity says from the next handshake on. Connections that stand go on.
    ///
    /// # Errors
    /// When it cannot be used or is somebody else's; then everything stays as it was.
    pub fn renew(&self, identity: &Identity) -> Result<(), Error> {
        let Shared { node, inbound, dialler, .. } = &*self.shared;
        is_own(identity, *node, &inbound.cluster)?;
        let (server, client) = identity.tls()?;
        *inbound.tls.write() = server;
        *dialler.tls.write() = client;
        Ok(())
    }

    /// Where this node listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.shared.local
    }

    /// Calls a peer. The call takes its place in line now, before the future is polled, so calls are
    /// handled in the order in which they were made. Dropping the future takes the call back if it
    /// has not left yet. An unknown peer is `Unreachable`.
    pub fn call(
        &self,
        to: u64,
        lane: Lane,
        request: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, PeerError>> {
        let begun = self
            .shared
            .peers
            .find(to)
            .ok_or(PeerError::Unreachable)
            .and_then(|peer| peer.line(lane).begin(request));
        match begun {
            Ok(call) => Box::pin(call.answer(deadline)),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    /// Sends a header and chunks (each at most 1 MiB) to a peer and waits for its one answer. The
    /// chunk stream is pulled as the peer reads. An error in it ends the transfer, and is then this
    /// call's `Refused`. Dropping the future cancels the transfer at the peer.
    pub fn send_bulk(
        &self,
        to: u64,
        header: Bytes,
        chunks: BoxStream<'static, Result<Bytes, String>>,
    ) -> BoxFuture<'static, Result<Bytes, PeerError>> {
        let reached = self
            .shared
            .peers
            .find(to)
            .and_then(|peer| peer.line(Lane::Bulk).channel().map(|channel| (peer, channel)));
        match reached {
            Some((peer, channel)) => Box::pin(bulk::send(channel, peer, header, chunks)),
            None => Box::pin(std::future::ready(Err(PeerError::Unreachable))),
        }
    }

    /// What the detector believes about a peer now. A node is alive to itself.
    pub fn alive(&self, node: u64) -> bool {
        node == self.shared.node
            || self.shared.peers.find(node).is_some_and(|peer| peer.pulse.is_alive())
    }

    /// Changes of liveness from now on. A listener that lagged asks [`PeerPlane::alive`].
    pub fn liveness(&self) -> broadcast::Receiver<Liveness> {
        self.shared.detector.subscribe()
    }

    /// What this node sees of a peer; `None` for an unknown one.
    pub fn status(&self, node: u64) -> Option<PeerStatus> {
        let peer = self.shared.peers.find(node)?;
        Some(PeerStatus { alive: peer.pulse.is_alive(), failures: peer.failures() })
    }

    /// How many connections got no answer.
    pub fn refused_links(&self) -> RefusedLinks {
        self.shared.inbound.refused.read()
    }

    /// What a peer said of its disk with its last request.
    pub fn disk(&self, node: u64) -> DiskState {
        self.shared.peers.find(node).map(|peer| peer.disk.get()).unwrap_or_default()
    }

    /// From now on this node's requests say this of its disk.
    pub fn say_disk(&self, disk: DiskState) {
        self.shared.dialler.disk.set(disk);
    }

    /// Fault switch: exactly these peers are cut off, both ways, in silence; all others are healed.
    pub fn cut(&self, peers: BTreeSet<u64>) {
        for peer in self.shared.peers.all() {
            peer.gate.set(peers.contains(&peer.node));
        }
    }

    /// Makes a peer known, or gives it a new address. This node itself is ignored.
    pub fn add_peer(&self, node: u64, address: String) {
        if node == self.shared.node {
            return;
        }
        let peer = Arc::new(Peer::new(node, address, self.shared.stop.child_token()));
        if let Err(known) = self.shared.peers.insert(peer.clone()) {
            let address = peer.address.lock().clone();
            let moved = std::mem::replace(&mut *known.address.lock(), address.clone()) != address;
            if moved {
                known.take_down();
            }
            return;
        }
        for lane in Lane::ALL {
            tokio::spawn(link::keep(self.shared.dialler.clone(), peer.clone(), lane));
        }
    }

    /// Forgets a peer: its links end and its certificate opens nothing any more.
    pub fn remove_peer(&self, node: u64) {
        if let Some(peer) = self.shared.peers.remove(node) {
            peer.stop.cancel();
            peer.gate.set(false);
            peer.take_down();
            self.shared.detector.lost(&peer);
        }
    }
}

/// Serves admitted connections until `stop`.
async fn serve_wires(
    inbound: Arc<Inbound>,
    wires: mpsc::Receiver<std::io::Result<Wire>>,
    stop: CancellationToken,
) {
    let streams = u32::try_from(TRANSFERS_MAX + Lane::ALL.len()).expect("a handful");
    let served = tonic::transport::Server::builder()
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES * 2)
        .max_concurrent_streams(streams)
        .http2_keepalive_interval(Some(PING_INTERVAL))
        .http2_keepalive_timeout(Some(PING_PATIENCE))
        .add_service(Service { inbound })
        .serve_with_incoming_shutdown(ReceiverStream::new(wires), stop.cancelled_owned())
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "the peer listener ended");
    }
}

/// Settings that cannot work are refused before anything is opened.
fn check(config: &Config) -> Result<(), Error> {
    let wrong = |field, reason| Err(Error::Setting { field, reason });
    if identity::server_name(config.node, &config.cluster).is_none() {
        return wrong("cluster", "must be usable in a host name: letters, digits, hyphens, dots");
    }
    if config.heartbeat.is_zero() {
        return wrong("heartbeat", "must not be zero");
    }
    if config.dead_after < config.heartbeat * 2 {
        return wrong("dead_after", "must be at least two heartbeats");
    }
    is_own(&config.identity, config.node, &config.cluster)
}

fn is_own(identity: &Identity, node: u64, cluster: &str) -> Result<(), Error> {
    match identity.is_of(node, cluster) {
        true => Ok(()),
        false => Err(Error::Identity(format!(
            "the certificate is not the one of node {node} in cluster {cluster}"
        ))),
    }
}
