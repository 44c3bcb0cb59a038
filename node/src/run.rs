//! One node, from its file to its end: opens, joins, serves, stops. Owns the one task set.
//!
//! The order is a law: nothing listens for clients before this node has its shards, and nothing durable is closed
//! before everything that writes has stopped. Whatever ends a group ends the process, with the reason.

mod serve;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cluster_config::{ClusterConfig, Command, Fingerprint, NodeState};
use raft::{Fatal, NodeId, Raft};
use store::StoreError;
use store::tables::Tables;
use thiserror::Error;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use transport::outgoing;
use transport::peer::{self, PeerPlane};

use crate::asset::{Local, WeakAssets};
use crate::backup::{self, Backups};
use crate::boot;
use crate::clock::{Clock, Entropy, SystemClock, SystemEntropy};
use crate::cluster::Configured;
use crate::config::{Config, Push};
use crate::council::Council;
use crate::disk;
use crate::fanout::{Directory, Fanout};
use crate::identity::{self, IdentityError, KnownPeer};
use crate::membership::{Membership, founding};
use crate::operated::Node;
use crate::operations::{self, Metrics};
use crate::peers::{Callee, Peers};
use crate::plane::Plane;
use crate::presence::{Departures, Watches};
use crate::push::{Apns, Fcm, Hints, Outgoing, Overheard, Services};
use crate::resume::{Noted, Recent};
use crate::retention::{Heard, Known};
use crate::router::{Replicated, Router};
use crate::shard::{Outbox, ShardMachine};
use crate::typing::TypingNews;

/// How long the tasks of a node may take to end once it stops; then they are dropped.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// How long until a node that was let in says again that it is ready.
const ANNOUNCE_AGAIN: Duration = Duration::from_millis(500);

/// Why a node stopped by itself.
#[derive(Debug, Error)]
pub enum Error {
    /// The configuration asks for what cannot be.
    #[error("configuration: {0}")]
    Config(String),
    /// A file that the configuration names cannot be read.
    #[error("cannot read {path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The node is not who it should be.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The data folder cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The peer plane could not start.
    #[error(transparent)]
    Peer(#[from] peer::Error),
    /// The client plane could not start.
    #[error(transparent)]
    Client(#[from] transport::client_plane::Error),
    /// A certificate or key cannot be used.
    #[error(transparent)]
    Tls(#[from] transport::TlsError),
    /// The operations port could not start.
    #[error("cannot listen for operators on {address}: {source}")]
    Operations {
        /// The address.
        address: std::net::SocketAddr,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A group could not start.
    #[error(transparent)]
    Raft(#[from] raft::Error),
    /// Something broke that nobody may handle: a disk, or determinism.
    #[error("stopped: {0}")]
    Fatal(#[from] Fatal),
}

/// Runs the node of `config` until `stop` is cancelled or something fatal happens.
///
/// # Errors
/// When the node cannot start, or had to stop by itself; the reason says what to do.
pub async fn run(mut config: Config, stop: CancellationToken) -> Result<(), Error> {
    // Before anything counts.
    let metrics = Metrics::install();
    let known = identity::adopt(&mut config)?;
    let outgoing = Arc::new(outgoing(&config.push).await?);
    let services = Arc::new(services(&config.push).await?);
    let opened = disk::open(&config)?;
    let identity = identity::fingerprint(&config, &SystemEntropy)?;
    let peers = Peers::default();
    let raft = Raft::open(
        raft_config(&config),
        opened.journal.clone(),
        Arc::new(peers.clone()),
        Arc::new(SystemClock),
    )?;
    let mut running = Running {
        node: node(&config, &raft, &peers),
        tables: opened.tables,
        assets: Local::new(opened.blobs),
        uploads: Arc::default(),
        tasks: JoinSet::new(),
        stop: stop.child_token(),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        outgoing,
        services,
        identity,
        known,
        config,
    };
    let ended = tokio::select! {
        served = running.serve(metrics) => served,
        fatal = raft.stopped() => Err(Error::Fatal(fatal)),
        () = stop.cancelled() => Ok(()),
    };
    running.end().await;
    raft.shutdown().await;
    opened.journal.close();
    ended
}

/// The client for servers that are not ours.
async fn outgoing(push: &Push) -> Result<outgoing::Client, Error> {
    let authorities = match &push.authorities {
        Some(path) => Some(read(path).await?),
        None => None,
    };
    let Push { allow_plain, allow_private, .. } = *push;
    Ok(outgoing::Client::new(&outgoing::Config { authorities, allow_plain, allow_private })?)
}

/// The push services that the file names, with their keys.
async fn services(push: &Push) -> Result<Services, Error> {
    let mut services = Services::default();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    if let Some(config) = &push.apns {
        let apns = Apns::new(config, &text(read(&config.key).await?)).map_err(Error::Config)?;
        services.apns = Some(apns);
    }
    if let Some(config) = &push.fcm {
        let fcm = Fcm::new(config, &text(read(&config.account).await?)).map_err(Error::Config)?;
        services.fcm = Some(fcm);
    }
    Ok(services)
}

fn raft_config(config: &Config) -> raft::Config {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads =
        if config.runtime.raft_threads == 0 { cores } else { config.runtime.raft_threads };
    raft::Config { threads, ..raft::Config::new(NodeId(config.node)) }
}

pub(crate) fn node(config: &Config, raft: &Raft, peers: &Peers) -> Node {
    Node {
        id: NodeId(config.node),
        raft: raft.clone(),
        peers: peers.clone(),
        directory: Directory::default(),
        cluster: Arc::new(OnceLock::new()),
        faults: config.faults.enabled,
        certificates: Arc::new([
            ("authority", config.tls.authority.clone()),
            ("client", config.tls.client_certificate.clone()),
            ("peer", config.tls.peer_certificate.clone()),
        ]),
        hints: Hints::default(),
        retained: Known::default(),
        watches: Watches::default(),
        recent: Recent::default(),
        letters: Arc::new(OnceLock::new()),
        backups: Arc::new(OnceLock::new()),
    }
}

/// A node that has been opened.
pub(crate) struct Running {
    pub(crate) config: Config,
    pub(crate) node: Node,
    pub(crate) tables: Arc<dyn Tables>,
    pub(crate) assets: Local,
    /// Set once clients are served.
    pub(crate) uploads: Arc<OnceLock<WeakAssets>>,
    pub(crate) tasks: JoinSet<()>,
    pub(crate) stop: CancellationToken,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) outgoing: Arc<dyn Outgoing>,
    pub(crate) services: Arc<Services>,
    /// By which key this node is known.
    pub(crate) identity: Fingerprint,
    /// Whom it asks before it has the cluster's map.
    pub(crate) known: Vec<KnownPeer>,
}

impl Running {
    /// Joins the cluster, starts what this node carries, serves. Returns only with an error.
    async fn serve(&mut self, metrics: Metrics) -> Result<(), Error> {
        self.tasks.spawn(operations::upkeep(metrics.clone(), self.stop.clone()));
        self.listen_for_operators(metrics).await?;
        self.listen_for_peers().await?;
        let (router, council) = self.join().await?;
        self.back_up(council.configured());
        self.listen_for_clients(router, council).await
    }

    /// Makes backups when it is time, or somebody asks, and looks at every row once a day.
    fn back_up(&mut self, configured: Configured) {
        let backups = Backups::new(backup::Ports {
            config: self.config.clone(),
            raft: self.node.raft.clone(),
            configured,
            assets: Arc::clone(&self.uploads),
            clock: Arc::clone(&self.clock),
            stop: self.stop.clone(),
        });
        assert!(self.node.backups.set(backups.clone()).is_ok(), "a node joins once");
        let (stop, tables) = (self.stop.clone(), Arc::clone(&self.tables));
        self.tasks.spawn(async move {
            let both = futures::future::join(backups.schedule(), backup::scrub(tables));
            stop.run_until_cancelled(both).await;
        });
    }

    /// Joins the cluster and starts what this node carries.
    pub(crate) async fn join(&mut self) -> Result<(Router, Council), Error> {
        let tables = Arc::clone(&self.tables);
        let surroundings = (&*self.clock, &*self.entropy);
        let Node { raft, peers, id, .. } = self.node.clone();
        let (cluster, configured) =
            boot::form(&self.config, (&raft, &peers), tables, self.identity, surroundings).await?;
        let council = Council::new(id, raft, peers.clone(), configured.clone());
        let known = self.known.iter().map(|peer| peer.node).collect();
        self.tasks.spawn(peers.follow(id, known, configured, self.stop.clone()));
        boot::introduce(&council, id, self.identity).await?;
        // Readiness counts the groups of the shard map from here on.
        assert!(self.node.cluster.set(council.configured()).is_ok(), "a node joins once");
        let router = self.router(&cluster);
        self.start_shards(&cluster, &router).await?;
        let Node { id: node, raft, peers, .. } = self.node.clone();
        let membership = Membership { node, raft, peers, council: council.clone() };
        membership.begin(&mut self.tasks, &self.stop);
        self.tasks.spawn(announce(council.clone(), id, self.stop.clone()));
        Ok((router, council))
    }

    fn router(&self, cluster: &ClusterConfig) -> Router {
        let replicated =
            Replicated::new(self.node.id, self.node.raft.clone(), self.node.peers.clone(), cluster);
        Router::new(Arc::new(replicated))
    }

    async fn listen_for_operators(&mut self, metrics: Metrics) -> Result<(), Error> {
        let address = self.config.listen.operations;
        let listener = tokio::net::TcpListener::bind(address)
            .await
            .map_err(|source| Error::Operations { address, source })?;
        let router = operations::router(Arc::new(self.node.clone()), metrics);
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            let served =
                axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
            if let Err(error) = served.await {
                tracing::error!(%error, "the operations port ended");
            }
        });
        Ok(())
    }

    async fn listen_for_peers(&mut self) -> Result<(), Error> {
        let tls = &self.config.tls;
        let identity = peer::Identity::from_pem(
            &read(&tls.peer_certificate).await?,
            &read(&tls.peer_key).await?,
            &read(&tls.authority).await?,
        )?;
        let known = self.known.iter();
        let config = peer::Config {
            node: self.config.node,
            cluster: self.config.cluster.id.clone(),
            listen: self.config.listen.peer,
            identity,
            peers: known.map(|peer| (peer.node, peer.address.clone())).collect(),
            heartbeat: peer::Config::HEARTBEAT,
            dead_after: peer::Config::DEAD_AFTER,
        };
        let callee = Callee {
            raft: self.node.raft.clone(),
            presence: Arc::new(self.node.directory.clone()),
            typing: TypingNews::while_open(self.node.directory.clone(), &self.tables),
            assets: self.assets.clone(),
            uploads: Arc::clone(&self.uploads),
        };
        let plane = PeerPlane::serve(config, Arc::new(callee), self.stop.clone()).await?;
        self.connect(Arc::new(plane));
        Ok(())
    }

    /// Goes through `plane` to the others from now on.
    pub(crate) fn connect(&mut self, plane: Arc<dyn Plane>) {
        let (raft, stop) = (self.node.raft.clone(), self.stop.clone());
        self.tasks.spawn(watch_peers(Arc::clone(&plane), raft, stop));
        self.node.peers.connect(plane);
    }

    /// Starts every shard's group: as a voter where the map says so, else as an observer.
    async fn start_shards(
        &mut self,
        cluster: &ClusterConfig,
        router: &Router,
    ) -> Result<(), Error> {
        let fanout = Fanout::new(self.node.directory.clone());
        let fanout = Heard::new(fanout, self.node.retained.clone());
        let fanout = Departures::new(fanout, self.node.watches.clone());
        let fanout = Overheard::new(fanout, self.node.hints.clone());
        let publish = Arc::new(Noted::new(fanout, self.node.recent.clone()));
        for (id, shard) in &cluster.shards {
            let outbox = Outbox::new(*id, Arc::clone(&self.tables), router.clone());
            let machine = ShardMachine::open(
                *id,
                shard.slots.clone(),
                Arc::clone(&self.tables),
                publish.clone(),
                outbox.wake(),
            )?;
            let founding = founding(cluster, *id, self.node.id);
            let preferred = *cluster.voters_wished(*id).first().expect("a shard has voters");
            let group = self.node.raft.start(*id, Box::new(machine), founding, preferred).await?;
            self.tasks.spawn(outbox.run(group, self.stop.clone()));
        }
        Ok(())
    }

    async fn end(&mut self) {
        self.stop.cancel();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_WITHIN, ended).await.is_err() {
            tracing::warn!(left = self.tasks.len(), "tasks did not end in time and are dropped");
            self.tasks.shutdown().await;
        }
    }
}

/// Says that this node carries what it should, once it was let in and does.
async fn announce(council: Council, node: NodeId, stop: CancellationToken) {
    let ready = Command::SetNodeState { node, state: NodeState::Ready };
    let joining = |config: &ClusterConfig| {
        config.nodes.get(&node).is_some_and(|node| node.state == NodeState::Joining)
    };
    while joining(&council.config()) {
        if let Err(error) = council.propose("system", &ready).await {
            tracing::info!(%error, "this node says again that it is ready");
        }
        if stop.run_until_cancelled(tokio::time::sleep(ANNOUNCE_AGAIN)).await.is_none() {
            return;
        }
    }
}

/// Tells raft what the peer plane learns about the others.
async fn watch_peers(plane: Arc<dyn Plane>, raft: Raft, stop: CancellationToken) {
    use tokio::sync::broadcast::error::RecvError;
    let mut liveness = plane.liveness();
    while let Some(heard) = stop.run_until_cancelled(liveness.recv()).await {
        match heard {
            Ok(change) => {
                tracing::info!(node = change.node, alive = change.alive, "a peer changed");
                let node = NodeId(change.node);
                if change.alive { raft.peer_back(node) } else { raft.peer_lost(node) }
            }
            Err(RecvError::Lagged(missed)) => {
                tracing::warn!(missed, "changes of peers were missed")
            }
            Err(RecvError::Closed) => return,
        }
    }
}

async fn read(path: &std::path::Path) -> Result<Vec<u8>, Error> {
    tokio::fs::read(path)
        .await
        .map_err(|source| Error::File { path: path.display().to_string(), source })
}
