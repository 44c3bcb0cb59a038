//! What the operations port and presence ask of the running node: adapters over raft, the peers and the directory.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use chat::UserId;
use cluster_config::ClusterConfig;
use futures::future::{BoxFuture, join_all};
use raft::{NodeId, Raft};
use tokio::sync::watch;

use crate::backup::Backups;
use crate::clock::{Clock as _, SystemClock};
use crate::cluster::Configured;
use crate::config::Config;
use crate::damage::Damages;
use crate::digest::{DigestTempo, Digests, Divergence};
use crate::fanout::{Directory, Typing};
use crate::operations::{Clients, Operated, PeerStatus, Role, ShardStatus};
use crate::peers::Peers;
use crate::presence::{OtherNodes, Watches};
use crate::push::{DeadLetters, Hints};
use crate::reload::Reload;
use crate::resume::Recent;
use crate::retention::Known;
use crate::trace::Trace;

/// The running node as its ports see it. Complete before the cluster is known: the port serves from the first moment.
#[derive(Clone)]
pub(crate) struct Node {
    /// This node's id.
    pub(crate) id: NodeId,
    /// The groups that run here.
    pub(crate) raft: Raft,
    /// The way to the others.
    pub(crate) peers: Peers,
    /// The sessions here.
    pub(crate) directory: Directory,
    /// The cluster as this node has applied it; set once it is known.
    pub(crate) cluster: Arc<OnceLock<Configured>>,
    /// Whether the node's file allows the fault switch.
    pub(crate) faults: bool,
    /// The files of its certificates: read at each scrape, for they are renewed under it.
    pub(crate) certificates: Arc<[(&'static str, PathBuf)]>,
    /// Whether clients are taken in.
    pub(crate) clients: Arc<watch::Sender<Clients>>,
    /// What the pusher overhears.
    pub(crate) hints: Hints,
    /// Which conversations had news lately.
    pub(crate) recent: Recent,
    /// Whom the links here watch.
    pub(crate) watches: Watches,
    /// Conversations that do not keep their messages for ever.
    pub(crate) retained: Known,
    /// What could not be told; set once the pusher runs.
    pub(crate) letters: Arc<OnceLock<DeadLetters>>,
    /// The backups that are made here; set once the cluster is known.
    pub(crate) backups: Arc<OnceLock<Backups>>,
    /// The file that this node was started with.
    pub(crate) reload: Option<Arc<Reload>>,
    /// What was found damaged here.
    pub(crate) damages: Damages,
    /// What the replicas here come to, and which differ from others.
    pub(crate) digests: Digests,
    /// When messages passed here.
    pub(crate) trace: Trace,
}

impl Node {
    /// One that has been opened and is in no cluster yet.
    pub(crate) fn new(config: &Config, raft: &Raft, peers: &Peers) -> Self {
        Self {
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
            clients: Arc::default(),
            hints: Hints::default(),
            retained: Known::default(),
            watches: Watches::default(),
            recent: Recent::default(),
            letters: Arc::new(OnceLock::new()),
            backups: Arc::new(OnceLock::new()),
            reload: None,
            damages: Damages::default(),
            digests: Digests::new(raft.clone(), NodeId(config.node), DigestTempo::default()),
            trace: Trace::default(),
        }
    }
}

impl Operated for Node {
    fn node(&self) -> u64 {
        self.id.0
    }

    fn now_ms(&self) -> u64 {
        SystemClock.now().0
    }

    fn cluster(&self) -> String {
        self.map().map_or_else(String::new, |config| config.cluster.to_string())
    }

    fn level(&self) -> Option<u32> {
        self.map().map(|config| config.level().0)
    }

    fn groups_expected(&self) -> Option<usize> {
        self.map().map(|config| config.groups().count())
    }

    fn shards(&self) -> Vec<ShardStatus> {
        let groups = self.raft.groups().into_iter().filter_map(|id| self.raft.group(id));
        groups
            .map(|group| {
                let status = group.status();
                let role = match (status.is_leader, status.voters.contains(&self.id)) {
                    (true, _) => Role::Leader,
                    (false, true) => Role::Follower,
                    (false, false) => Role::Learner,
                };
                ShardStatus {
                    group: group.id().0,
                    leader: status.leader.map(|leader| leader.0),
                    role,
                    term: status.term,
                    applied: status.applied_index.unwrap_or(0),
                    last: status.last_index.unwrap_or(0),
                }
            })
            .collect()
    }

    fn peers(&self) -> Vec<PeerStatus> {
        let Some(config) = self.map() else { return Vec::new() };
        let status = |(id, node): (&NodeId, &cluster_config::Node)| PeerStatus {
            id: id.0,
            alive: *id == self.id || self.peers.alive(id.0),
            client: node.addresses.client.clone(),
        };
        config.nodes.iter().map(status).collect()
    }

    fn clients(&self) -> Clients {
        *self.clients.borrow()
    }

    fn links(&self) -> usize {
        self.directory.sessions()
    }

    fn damaged(&self) -> Vec<String> {
        let mut told = self.damages.told();
        told.extend(self.digests.told_here());
        told
    }

    fn divergences(&self) -> Vec<Divergence> {
        self.digests.divergences()
    }

    fn compare(&self) {
        self.digests.want();
    }

    fn cut(&self, nodes: BTreeSet<u64>) -> Option<()> {
        self.faults.then(|| self.peers.cut(nodes))
    }

    fn certificates(&self) -> Vec<(&'static str, u64)> {
        let ends = |(plane, path): &(&'static str, PathBuf)| {
            let ends = transport::expires_at_ms(&std::fs::read(path).ok()?)?;
            Some((*plane, ends / 1000))
        };
        self.certificates.iter().filter_map(ends).collect()
    }

    fn journal(&self) -> store::JournalStats {
        self.raft.journal_stats()
    }

    fn letters(&self) -> Option<DeadLetters> {
        self.letters.get().cloned()
    }

    fn reload(&self) -> Option<Arc<Reload>> {
        self.reload.clone()
    }

    fn backups(&self) -> Option<Backups> {
        self.backups.get().cloned()
    }
}

impl Node {
    /// The cluster as it is now, as far as this node knows.
    fn map(&self) -> Option<Arc<ClusterConfig>> {
        self.cluster.get()?.borrow().clone()
    }

    /// Whether a client could go anywhere else now.
    pub(crate) fn has_others(&self) -> bool {
        self.others().into_iter().any(|node| self.peers.alive(node))
    }

    fn others(&self) -> Vec<u64> {
        self.map().map_or_else(Vec::new, |config| {
            config.nodes.keys().filter(|id| **id != self.id).map(|id| id.0).collect()
        })
    }
}

impl OtherNodes for Node {
    fn tell_typing(&self, typing: &Typing) -> BoxFuture<'static, ()> {
        let (peers, others, typing) = (self.peers.clone(), self.others(), typing.clone());
        Box::pin(async move {
            join_all(others.into_iter().map(|node| peers.typing(node, &typing))).await;
        })
    }

    fn which_online(
        &self,
        users: Arc<[UserId]>,
    ) -> BoxFuture<'static, Vec<(u64, Option<Vec<bool>>)>> {
        let (peers, others) = (self.peers.clone(), self.others());
        Box::pin(async move {
            let asked =
                others.into_iter().map(async |node| (node, peers.presences(node, &users).await));
            join_all(asked).await
        })
    }

    fn any_online(&self, user: &UserId) -> BoxFuture<'static, bool> {
        let others = self.others();
        let (peers, user) = (self.peers.clone(), user.clone());
        Box::pin(async move {
            let asked = others.into_iter().map(|node| peers.presence(node, &user));
            join_all(asked).await.into_iter().flatten().any(|answer| answer.online)
        })
    }
}
