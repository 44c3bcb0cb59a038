//! One node, from its file to its end: opens, joins, serves, stops. Owns the one task set.
//!
//! The order is a law: nothing listens for clients before this node has its shards, and nothing durable is closed
//! before everything that writes has stopped. Whatever ends a group ends the process, with the reason.

mod serve;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cluster_config::{ClusterConfig, Command, Fingerprint, NodeState, Unspoken};
use raft::{Fatal, NodeId, Raft};
use store::StoreError;
use store::tables::Tables;
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use transport::outgoing;
use transport::peer::{self, PeerPlane};

use crate::asset::{Local, WeakAssets};
use crate::backup::{self, Backups};
use crate::boot;
use crate::carrying::Carrying;
use crate::clock::{Clock, Entropy, SystemClock, SystemEntropy};
use crate::cluster::Configured;
use crate::config::{Config, Push};
use crate::council::Council;
use crate::digest;
use crate::disk;
use crate::fanout::Fanout;
use crate::identity::{self, IdentityError, KnownPeer};
use crate::membership::Membership;
use crate::operated::Node;
use crate::operations::{self, Clients, Metrics};
use crate::peers::{Callee, Peers};
use crate::plane::{Plane, say_disk};
use crate::presence::Departures;
use crate::push::{Apns, Fcm, Outgoing, Overheard, Services};
use crate::reload::Reload;
use crate::resume::Noted;
use crate::retention::Heard;
use crate::router::{Owners, Replicated, Router};
use crate::search::{Fed, IndexError, Search};
use crate::shard::Publish;
use crate::trace::Traced;
use crate::typing::TypingNews;
use crate::upgrade;

/// How long the tasks of a node may take to end once it stops; then they are dropped.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// Over how much time the links of a stopping node go elsewhere.
pub(crate) const STOP_OVER: Duration = Duration::from_secs(1);
/// How long a stopping node waits for its leaderships and links to have gone.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);
/// How often it looks who is still there.
const LOOK_WHO_IS_THERE: Duration = Duration::from_millis(20);
const _: () = assert!(STOP_OVER.as_millis() < LEAVE_WITHIN.as_millis());

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
    /// The cluster is at a feature level that this program does not speak.
    #[error(transparent)]
    Unspoken(#[from] Unspoken),
    /// The data folder cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What finds messages by their words could not start.
    #[error("cannot keep an index: {0}")]
    Index(String),
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

impl From<IndexError> for Error {
    fn from(error: IndexError) -> Self {
        Self::Index(error.to_string())
    }
}

/// Runs the node of `config` until `stop` is cancelled or something fatal happens.
///
/// # Errors
/// When the node cannot start, or had to stop by itself; the reason says what to do.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), Error> {
    run_reloadable(config, None, stop).await
}

/// As [`run`], of a node whose file may be read again.
///
/// # Errors
/// As [`run`].
pub async fn run_reloadable(
    mut config: Config,
    reload: Option<Arc<Reload>>,
    stop: CancellationToken,
) -> Result<(), Error> {
    // Before anything counts.
    let metrics = Metrics::install();
    let known = identity::adopt(&mut config)?;
    let outgoing = Arc::new(outgoing(&config.push).await?);
    let services = Arc::new(services(&config.push).await?);
    let opened = disk::open(&config)?;
    upgrade::must_read(&*opened.tables)?;
    keep_certificates(&config, &*opened.tables)?;
    let identity = identity::fingerprint(&config, &SystemEntropy)?;
    let peers = Peers::default();
    let raft = Raft::open(
        raft_config(&config),
        opened.journal.clone(),
        Arc::new(peers.clone()),
        Arc::new(SystemClock),
    )?;
    let search = match config.search.enabled {
        true => Some(Search::open(opened.index, Arc::new(SystemClock))?),
        false => None,
    };
    raft.know(known.iter().map(|peer| NodeId(peer.node)));
    let mut running = Running {
        node: Node { reload, ..Node::new(&config, &raft, &peers) },
        tables: opened.tables,
        assets: Local::new(opened.blobs),
        search,
        uploads: Arc::default(),
        tasks: JoinSet::new(),
        stop: CancellationToken::new(),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        outgoing,
        services,
        leaving: Arc::default(),
        identity,
        known,
        unspoken: Arc::default(),
        config,
    };
    let ended = tokio::select! {
        served = running.serve(metrics) => served,
        fatal = raft.stopped() => Err(Error::Fatal(fatal)),
        () = stop.cancelled() => Ok(()),
    };
    // Whichever of the two was first to fail, this is why.
    let ended = ended.map_err(|error| match running.unspoken.get() {
        Some(unspoken) => Error::Unspoken(unspoken.clone()),
        None => error,
    });
    if ended.is_ok() {
        running.leave().await;
    }
    running.end().await;
    raft.shutdown().await;
    opened.journal.close();
    ended
}

/// Renews what ran out, or nearly, while this node was down: with certificates that are not good any more it would reach
/// nobody who could give it others.
fn keep_certificates(config: &Config, tables: &dyn Tables) -> Result<(), Error> {
    let Some(row) = tables.get(&proto::keys::cluster_config())? else { return Ok(()) };
    let cluster = proto::cluster::decode_cluster_config(&row)
        .map_err(|error| Fatal::new(format!("group 0: {error}")))?;
    identity::keep(config, &cluster, SystemClock.now().0)?;
    Ok(())
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

/// A node that has been opened.
pub(crate) struct Running {
    pub(crate) config: Config,
    pub(crate) node: Node,
    pub(crate) tables: Arc<dyn Tables>,
    pub(crate) assets: Local,
    /// Unless the file says that this node does not search.
    pub(crate) search: Option<Search>,
    /// Set once clients are served.
    pub(crate) uploads: Arc<OnceLock<WeakAssets>>,
    pub(crate) tasks: JoinSet<()>,
    pub(crate) stop: CancellationToken,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) outgoing: Arc<dyn Outgoing>,
    pub(crate) services: Arc<Services>,
    /// Over how much time the links here shall go elsewhere; `None` while they may stay.
    pub(crate) leaving: Arc<watch::Sender<Option<Duration>>>,
    /// By which key this node is known.
    pub(crate) identity: Fingerprint,
    /// Whom it asks before it has the cluster's map.
    pub(crate) known: Vec<KnownPeer>,
    /// Set when this program turns out to be too old for the cluster.
    pub(crate) unspoken: Arc<OnceLock<Unspoken>>,
}

impl Running {
    /// Joins the cluster, starts what this node carries, serves. Returns only with an error.
    async fn serve(&mut self, metrics: Metrics) -> Result<(), Error> {
        self.tasks.spawn(operations::upkeep(metrics.clone(), self.stop.clone()));
        let told = disk::tell_aside(self.config.data.clone(), self.node.damages.clone());
        let stop = self.stop.clone();
        self.tasks.spawn(async move { stop.run_until_cancelled(told).await.unwrap_or_default() });
        self.listen_for_operators(metrics).await?;
        self.listen_for_peers().await?;
        let (router, council) = self.join().await?;
        self.back_up(council.configured());
        self.listen_for_clients(router, council).await
    }

    /// Makes backups when it is time, or somebody asks, and looks at what lies on the disk.
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
        let Node { raft, damages, .. } = self.node.clone();
        self.tasks.spawn(async move {
            let rows = backup::scrub(tables, damages.clone());
            let records = backup::scrub_journal(raft, damages);
            let all = futures::future::join3(backups.schedule(), rows, records);
            stop.run_until_cancelled(all).await;
        });
    }

    /// Joins the cluster and starts what this node carries.
    pub(crate) async fn join(&mut self) -> Result<(Router, Council), Error> {
        let disk = (Arc::clone(&self.tables), Arc::clone(&self.unspoken));
        let surroundings = (&*self.clock, &*self.entropy);
        let Node { raft, peers, id, .. } = self.node.clone();
        let boot::Formed { cluster, configured, founded } =
            boot::form(&self.config, (&raft, &peers), disk, self.identity, surroundings).await?;
        let council = Council::new(id, raft, peers.clone(), configured.clone());
        let known = self.known.iter().map(|peer| peer.node).collect();
        self.tasks.spawn(peers.follow(id, known, configured, self.stop.clone()));
        boot::introduce(&council, id, self.identity).await?;
        // Readiness counts the groups of the shard map from here on.
        assert!(self.node.cluster.set(council.configured()).is_ok(), "a node joins once");
        let owners = Owners::default();
        owners.learn(&cluster);
        let router = self.router(&owners);
        let Node { id: node, raft, peers, .. } = self.node.clone();
        let membership =
            Membership { node, raft, peers, council: council.clone(), owners: owners.clone() };
        let carrying = Carrying {
            raft: self.node.raft.clone(),
            tables: Arc::clone(&self.tables),
            publish: self.publish(),
            router: router.clone(),
            owners,
            membership: membership.clone(),
            stop: self.stop.clone(),
        };
        let mut groups = JoinSet::new();
        carrying.start(&mut groups).await?;
        self.tasks.spawn(carrying.run(groups));
        membership.begin(&mut self.tasks, founded, &self.stop);
        self.tasks.spawn(announce(council.clone(), id, self.stop.clone()));
        let compared = digest::compare(self.node.clone(), Arc::clone(&self.clock));
        let stop = self.stop.clone();
        self.tasks
            .spawn(async move { stop.run_until_cancelled(compared).await.unwrap_or_default() });
        Ok((router, council))
    }

    fn router(&self, owners: &Owners) -> Router {
        let Node { id, raft, peers, .. } = self.node.clone();
        Router::new(Arc::new(Replicated::new(id, raft, peers, owners.clone())))
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
        let identity = identity::peer_identity(&self.config.tls)?;
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
            digests: self.node.digests.clone(),
        };
        let plane = PeerPlane::serve(config, Arc::new(callee), self.stop.clone()).await?;
        self.connect(Arc::new(plane));
        Ok(())
    }

    /// Goes through `plane` to the others from now on.
    pub(crate) fn connect(&mut self, plane: Arc<dyn Plane>) {
        let (raft, stop) = (self.node.raft.clone(), self.stop.clone());
        self.tasks.spawn(say_disk(Arc::clone(&plane), raft.clone(), stop.clone()));
        self.tasks.spawn(watch_peers(Arc::clone(&plane), raft, stop));
        self.node.peers.connect(plane);
    }

    /// Where the events of all shards go.
    fn publish(&self) -> Arc<dyn Publish> {
        let fanout = Fanout::new(self.node.directory.clone());
        let fanout = Heard::new(fanout, self.node.retained.clone());
        let fanout = Departures::new(fanout, self.node.watches.clone());
        let fanout = Overheard::new(fanout, self.node.hints.clone());
        let noted = Noted::new(fanout, self.node.recent.clone());
        let fed = Fed::new(noted, self.search.clone());
        Arc::new(Traced::new(fed, self.node.trace.clone(), Arc::clone(&self.clock)))
    }

    /// Gives what this node leads to others and has its clients go there, while everything still serves. Not for long, and
    /// not where there is nobody to go to.
    async fn leave(&self) {
        self.node.clients.send_replace(Clients::Leaving);
        if !self.node.has_others() {
            return;
        }
        self.leaving.send_replace(Some(STOP_OVER));
        let gone = async {
            self.node.raft.hand_over_all().await;
            while self.node.directory.sessions() > 0 {
                tokio::time::sleep(LOOK_WHO_IS_THERE).await;
            }
        };
        if tokio::time::timeout(LEAVE_WITHIN, gone).await.is_err() {
            tracing::info!(left = self.node.directory.sessions(), "links are ended");
        }
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
