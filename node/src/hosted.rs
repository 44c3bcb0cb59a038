//! A node over ports instead of folders and sockets: the same rooms as [`run`](crate::run()) wires, with a journal, tables,
//! a clock, entropy and a plane that the caller brings. A simulation hosts whole nodes with it.
//!
//! Law: nothing is decided here that `run` decides otherwise; what differs is only what a port is connected to. There is
//! no listener, no certificate and no metric.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use bytes::Bytes;
use chat::{
    ConversationId, Cursor, DeviceId, Digest, Message, Outcome, Refusal, Seq, UserCommand, UserId,
};
use cluster_config::{ClusterConfig, Command, Outcome as Decided};
use futures::future::BoxFuture;
use proto::keys;
use raft::{GroupId, NodeId, Raft};
use store::tables::{KeyRange, Tables};
use store::{Blobs, Journal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use transport::Link;
use transport::peer::PeerHandler;

use crate::asset::Local;
use crate::clock::{Clock, Entropy};
use crate::config::Config;
use crate::digest::{DigestTempo, Digests, Divergence};
use crate::fanout::{Directory, Mailboxes};
use crate::gateway::issuers::Issuers;
use crate::gateway::tokens::Identity;
use crate::gateway::{self, Parts};
use crate::identity;
use crate::operated::Node;
use crate::peers::{Callee, Peers};
use crate::plane::Plane;
use crate::push::Outgoing;
use crate::run::{Error, Running};
use crate::session::Sessions;
use crate::shard::{self, Reader};
use crate::typing::TypingNews;

/// Longest answer of [`Front::ask`]: a page of history.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// What a hosted node takes from outside.
pub struct Surroundings {
    /// The log of all groups, opened.
    pub journal: Journal,
    /// The state of all groups, opened.
    pub tables: Arc<dyn Tables>,
    /// The bytes of assets.
    pub blobs: Blobs,
    /// Settings of all groups.
    pub raft: raft::Config,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The way to the other nodes.
    pub plane: Arc<dyn Plane>,
    /// The way to servers that are not ours.
    pub outgoing: Arc<dyn Outgoing>,
    /// Mailboxes of sessions; `None`: as in the product. With small ones, a session often has to find out by itself what
    /// it missed.
    pub mailboxes: Option<Mailboxes>,
    /// When replicas are compared.
    pub digests: DigestTempo,
}

/// A node that has been opened.
pub struct Host {
    running: Running,
    raft: Raft,
    view: HostView,
}

struct WallClock(Arc<dyn Clock>);

impl raft::Clock for WallClock {
    fn now_ms(&self) -> u64 {
        self.0.now().0
    }
}

impl Host {
    /// Opens a node on the runtime that is to run it. Call with no threads in `surroundings.raft`.
    ///
    /// # Errors
    /// When the settings contradict each other.
    pub fn open(
        config: Config,
        surroundings: Surroundings,
        stop: CancellationToken,
    ) -> Result<Self, Error> {
        let Surroundings {
            journal,
            tables,
            blobs,
            raft,
            clock,
            entropy,
            plane,
            outgoing,
            mailboxes,
            digests,
        } = surroundings;
        blobs.sweep()?;
        let peers = Peers::default();
        let wall = Arc::new(WallClock(Arc::clone(&clock)));
        let raft = Raft::open(raft, journal, Arc::new(peers.clone()), wall)?;
        let mut node = Node::new(&config, &raft, &peers);
        if let Some(mailboxes) = mailboxes {
            node.directory = Directory::with(mailboxes);
        }
        node.digests = Digests::new(raft.clone(), node.id, digests);
        let digests = node.digests.clone();
        let reader = Reader::new(Arc::clone(&tables));
        let view = HostView { raft: raft.clone(), reader, tables, digests };
        let mut running = Running {
            node,
            tables: Arc::clone(&view.tables),
            assets: Local::new(blobs),
            // The engine of the index has threads and files of its own, which no seed would move.
            search: None,
            uploads: Arc::default(),
            tasks: JoinSet::new(),
            stop,
            clock,
            entropy,
            outgoing,
            services: Arc::default(),
            leaving: Arc::default(),
            identity: identity::print(&config.node.to_be_bytes()),
            known: Vec::new(),
            config,
            unspoken: Arc::default(),
        };
        running.connect(plane);
        Ok(Self { running, raft, view })
    }

    /// What answers the other nodes.
    #[must_use]
    pub fn handler(&self) -> Arc<dyn PeerHandler> {
        Arc::new(Callee {
            raft: self.raft.clone(),
            presence: Arc::new(self.running.node.directory.clone()),
            typing: TypingNews::while_open(self.running.node.directory.clone(), &self.view.tables),
            assets: self.running.assets.clone(),
            uploads: Arc::clone(&self.running.uploads),
            digests: self.view.digests.clone(),
        })
    }

    /// What an observer may see of this node.
    #[must_use]
    pub fn view(&self) -> HostView {
        self.view.clone()
    }

    /// Joins the cluster, hands out the client side, and goes on until the node has to stop.
    pub async fn run(mut self, ready: impl FnOnce(Front) + Send) -> Error {
        let serve = async {
            let (router, council) = match self.running.join().await {
                Ok(joined) => joined,
                Err(error) => return error,
            };
            let (parts, sessions) =
                self.running.front(router, council.configured(), Issuers::default(), None);
            ready(Front { parts, sessions });
            std::future::pending().await
        };
        tokio::select! {
            biased;
            error = serve => error,
            fatal = self.raft.stopped() => Error::Fatal(fatal),
        }
    }
}

/// How one group stands on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupView {
    /// The group.
    pub group: u32,
    /// This node leads it.
    pub leads: bool,
    /// Who leads it, as far as this node knows.
    pub leader: Option<u64>,
    /// Its term here.
    pub term: u64,
    /// The last index in the log here.
    pub last: Option<u64>,
    /// The last index applied here.
    pub applied: Option<u64>,
    /// Who votes, as this replica knows.
    pub voters: BTreeSet<u64>,
    /// Who has the log without a vote.
    pub observers: BTreeSet<u64>,
}

/// An observer's eyes: reads applied state past all sessions. Cheap to clone.
#[derive(Clone)]
pub struct HostView {
    raft: Raft,
    tables: Arc<dyn Tables>,
    reader: Reader,
    digests: Digests,
}

impl HostView {
    /// All groups that run here.
    #[must_use]
    pub fn groups(&self) -> Vec<GroupView> {
        let groups = self.raft.groups().into_iter().filter_map(|id| self.raft.group(id));
        groups
            .map(|group| {
                let status = group.status();
                GroupView {
                    group: group.id().0,
                    leads: status.is_leader,
                    leader: status.leader.map(|leader| leader.0),
                    term: status.term,
                    last: status.last_index,
                    applied: status.applied_index,
                    voters: status.voters.iter().map(|node| node.0).collect(),
                    observers: status.observers.iter().map(|node| node.0).collect(),
                }
            })
            .collect()
    }

    /// The cluster as applied here; `None` before it was founded.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub fn cluster(&self) -> Result<Option<ClusterConfig>, store::StoreError> {
        let row = self.tables.get(&keys::cluster_config())?;
        let config = row.map(|row| proto::cluster::decode_cluster_config(&row));
        Ok(config.map(|config| config.expect("the machine of group 0 wrote it")))
    }

    /// Proposes a command to group 0, which this node must lead.
    pub fn decide(&self, command: &Command) -> BoxFuture<'static, Option<Decided>> {
        let group = self.raft.group(GroupId::CLUSTER);
        let command = proto::cluster::encode_cluster_command("host", command);
        Box::pin(async move {
            let outcome = group?.propose(command).await.ok()?;
            proto::cluster::decode_cluster_outcome(&outcome).ok()
        })
    }

    /// Messages of a conversation with a sequence above `after`, as applied here.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub fn messages(
        &self,
        id: ConversationId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Message>, store::StoreError> {
        self.reader.messages(id, after, None, limit, false)
    }

    /// Whether a user exists, as applied here.
    #[must_use]
    pub fn has_user(&self, user: &UserId) -> bool {
        matches!(self.reader.user(user), Ok(Some(_)))
    }

    /// The users who are in a conversation, as applied here.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub fn members(&self, id: ConversationId) -> Result<BTreeSet<UserId>, store::StoreError> {
        let found = self.reader.conversation(id)?;
        Ok(found.into_iter().flat_map(|found| found.members.into_keys()).collect())
    }

    /// How far each device has got in a conversation, as applied here.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub fn cursors(
        &self,
        id: ConversationId,
    ) -> Result<BTreeMap<DeviceId, Cursor>, store::StoreError> {
        Ok(self.reader.conversation(id)?.map(|found| found.cursors).unwrap_or_default())
    }

    /// The conversations in a user's list, as applied here.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub fn links(&self, user: &UserId) -> Result<BTreeSet<ConversationId>, store::StoreError> {
        Ok(self.reader.links(user)?.into_iter().map(|(id, _)| id).collect())
    }

    /// A sentence for each group whose replicas were found to differ, as far as this node was told.
    #[must_use]
    pub fn divergences(&self) -> Vec<String> {
        self.digests.divergences().iter().map(Divergence::told).collect()
    }

    /// How many comparisons this node made in which at least two replicas said the same and nobody something else.
    #[must_use]
    pub fn found_same(&self) -> u64 {
        self.digests.same()
    }

    /// All rows of a group's slots, for a digest.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub fn rows_of(&self, group: u32) -> Result<Vec<(Bytes, Bytes)>, store::StoreError> {
        // As its state here says: the map may show another moment.
        let row = self.tables.get(&keys::applied(GroupId(group)))?;
        let in_force = row.and_then(|row| shard::slots_in_force(&row).ok().flatten());
        let Some(slots) = in_force else { return Ok(Vec::new()) };
        let range = keys::slot_range(slots.start, slots.end);
        let mut view = self.tables.view(KeyRange::new(range.start, range.end))?;
        let mut rows = Vec::new();
        while let Some(row) = view.next()? {
            rows.push(row);
        }
        Ok(rows)
    }

    /// Has group 0, which this node must lead, split a shard in half; `number` chooses which, and which half is to be the new
    /// one. `None`: this node does not lead it.
    pub fn halve(&self, number: u64) -> Option<BoxFuture<'static, Option<Decided>>> {
        let leads = self.raft.group(GroupId::CLUSTER)?.status().is_leader;
        let config = leads.then(|| self.cluster().ok().flatten()).flatten()?;
        let at = usize::try_from(number >> 1).unwrap_or(0) % config.shards.len();
        let (group, shard) = config.shards.iter().nth(at)?;
        let Range { start, end } = shard.slots;
        let middle = start + (end - start) / 2;
        let slots = if number & 1 == 0 { start..middle } else { middle..end };
        let command = Command::SplitShard { group: *group, slots, if_epoch: config.epoch };
        Some(self.decide(&command))
    }

    /// Hands a group over.
    ///
    /// # Errors
    /// Why not.
    pub fn transfer(&self, group: u32, to: u64) -> BoxFuture<'static, Result<(), raft::Error>> {
        let group = self.raft.group(GroupId(group));
        Box::pin(async move {
            match group {
                Some(group) => group.transfer_leader(NodeId(to)).await,
                None => Err(raft::Error::Stopped),
            }
        })
    }
}

/// The client side of a hosted node. Cheap to clone.
#[derive(Clone)]
pub struct Front {
    parts: Arc<Parts>,
    sessions: Sessions,
}

impl Front {
    /// Serves one link until it ends.
    #[must_use]
    pub fn serve(&self, link: Link) -> BoxFuture<'static, ()> {
        (self.sessions.on_link())(link)
    }

    /// One request over REST: status and body.
    #[must_use]
    pub fn ask(
        &self,
        (method, path): (&str, &str),
        token: &str,
        body: String,
    ) -> BoxFuture<'static, (u16, Bytes)> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body))
            .expect("hosts ask with legal methods and paths");
        let router = gateway::router(Arc::clone(&self.parts));
        Box::pin(async move {
            let response = router.oneshot(request).await.expect("the router cannot fail");
            let status = response.status().as_u16();
            let body = to_bytes(response.into_body(), ANSWER_BYTES_MAX).await;
            (status, body.unwrap_or_default())
        })
    }

    /// Makes sure that the user and this device of it exist, and gives an access token. Password and refresh token are
    /// left out: a hash costs what a simulation cannot spend. `None`: try again.
    #[must_use]
    pub fn sign_in(&self, user: UserId, device: u64) -> BoxFuture<'static, Option<String>> {
        let parts = Arc::clone(&self.parts);
        Box::pin(async move {
            let create = UserCommand::Create { password_hash: String::new() };
            let create = proto::encode_user_command(&user, &create);
            match parts.router.submit(user.slot(), create).await.ok()? {
                Outcome::Accepted(_) | Outcome::Refused(Refusal::NameTaken) => {}
                _ => return None,
            }
            parts.router.linearize(user.slot()).await.ok()?;
            let who = Identity { user: user.clone(), device: DeviceId(device) };
            if parts.replica.device(&user, who.device).ok()?.is_none() {
                let command = UserCommand::OpenSession {
                    device: who.device,
                    name: String::new(),
                    refresh: Digest([0; 32]),
                    starts: parts.starts(&user).await.ok()?,
                };
                let command = proto::encode_user_command(&user, &command);
                match parts.router.submit(user.slot(), command).await.ok()? {
                    Outcome::Accepted(_) | Outcome::Duplicate(_) => {}
                    _ => return None,
                }
                parts.router.linearize(user.slot()).await.ok()?;
            }
            parts.tokens.issue(parts.clock.now(), &who).ok().map(|access| access.token)
        })
    }
}
