//! The last step of starting: gateway and sessions over the shards, and the client plane over both.

use std::sync::Arc;
use std::time::Duration;

use cluster_config::NodeState;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use transport::ServerIdentity;
use transport::client_plane::{self, Limits};
use transport::outgoing;

use super::{Error, Running, STOP_OVER, read};
use crate::asset::{self, Assets, Leads, Placement};
use crate::cluster::Configured;
use crate::council::Council;
use crate::gateway::issuers::{Issuers, KeyServers, NoKeyServers};
use crate::gateway::operators::{self, Desk};
use crate::gateway::tokens::{KeySet, TokenKeys, TokenSeed};
use crate::gateway::{self, Parts, Ports};
use crate::identity::{Keeper, Shown};
use crate::membership;
use crate::notify::Notify;
use crate::objects::Objects;
use crate::operations::Clients;
use crate::presence::Watcher;
use crate::push::{self, ApplicationKey, DeadLetters, Pusher};
use crate::retention;
use crate::router::Router;
use crate::session::{Elsewhere, Sessions};
use crate::shard::Reader;

impl Running {
    /// Serves clients until a stop.
    pub(super) async fn listen_for_clients(
        &mut self,
        router: Router,
        council: Council,
    ) -> Result<(), Error> {
        let (configured, stop) = (council.configured(), self.stop.clone());
        self.tasks.spawn(push::make_key(self.node.raft.clone(), configured.clone(), stop));
        let issuers = self.trust().await?;
        let objects = self.objects().await?;
        let (parts, sessions) = self.front(router, configured, issuers, objects);
        let tls = &self.config.tls;
        let identity = ServerIdentity::from_pem(
            &read(&tls.client_certificate).await?,
            &read(&tls.client_key).await?,
        )?;
        let shown = Shown {
            tls: Arc::new(tls.clone()),
            peers: self.node.peers.clone(),
            clients: identity.clone(),
        };
        let (config, clock) = (self.config.clone(), Arc::clone(&self.clock));
        let keeper = Keeper { config, council: council.clone(), clock, shown };
        self.tasks.spawn(keeper.run(self.stop.clone()));
        let config = client_plane::Config {
            listen: self.config.listen.client,
            plain_listen: self.config.listen.plain,
            tls: identity,
            limits: Limits::default(),
        };
        let (peers, raft) = (self.node.peers.clone(), self.node.raft.clone());
        let backups = self.node.backups.get().cloned().expect("set before clients are served");
        let (parts_too, operated) = (Arc::clone(&parts), Arc::new(self.node.clone()));
        let desk = Desk { parts: parts_too, council, peers, raft, backups, operated };
        let rest = gateway::router(parts).merge(operators::router(Arc::new(desk)));
        let plane =
            client_plane::serve(config, rest, sessions.on_link(), self.stop.clone()).await?;
        self.node.clients.send_replace(Clients::Served);
        tracing::info!(address = %plane.address(), "ready for clients");
        let notify = Notify::from_environment();
        self.tasks.spawn(notify.serving(plane.address(), self.stop.clone()));
        // Among the tasks, so that whoever stops this node waits until its links were told and let go of everything.
        self.tasks.spawn(plane.stopped());
        self.stop.cancelled().await;
        Ok(())
    }

    /// Reads the keys of the trusted issuers, and follows them.
    async fn trust(&mut self) -> Result<Issuers, Error> {
        let servers = self.key_servers().await?;
        let issuers = Issuers::load(&self.config.auth.issuers, &servers).await;
        let issuers =
            issuers.map_err(|problem| Error::Config(format!("auth.issuers: {problem}")))?;
        self.tasks.spawn(issuers.clone().follow(self.stop.clone()));
        Ok(issuers)
    }

    /// The way to servers of issuers' keys, where there are any. The operator names them, so they may be anywhere.
    async fn key_servers(&self) -> Result<Arc<dyn KeyServers>, Error> {
        let auth = &self.config.auth;
        if auth.issuers.iter().all(|issuer| issuer.keys_url.is_none()) {
            return Ok(Arc::new(NoKeyServers));
        }
        let authorities = match &auth.authorities {
            Some(path) => Some(read(path).await?),
            None => None,
        };
        let config = outgoing::Config { authorities, allow_plain: false, allow_private: true };
        Ok(Arc::new(outgoing::Client::new(&config)?))
    }

    /// Where the bytes of assets go, when not to the nodes' disks: a folder of this cluster alone, because what no
    /// record speaks of is removed there.
    async fn objects(&self) -> Result<Option<Objects>, Error> {
        let Some(url) = self.config.assets.store.clone() else { return Ok(None) };
        let (settings, cluster) =
            (self.config.object_store.clone(), self.config.cluster.id.clone());
        let opened = tokio::task::spawn_blocking(move || Objects::open(&url, &settings));
        let opened = opened.await.map_err(|error| Error::Config(error.to_string()))?;
        let opened = opened.map_err(|error| Error::Config(error.to_string()))?;
        Ok(Some(opened.below(&cluster).below("assets")))
    }

    /// Gateway and sessions over the shards.
    pub(crate) fn front(
        &mut self,
        router: Router,
        configured: Configured,
        issuers: Issuers,
        objects: Option<Objects>,
    ) -> (Arc<Parts>, Sessions) {
        let keys = self.follow_keys(configured.clone());
        let replica = Arc::new(Reader::new(Arc::clone(&self.tables)));
        let assets = self.assets(&configured, &router, &replica, objects);
        let parts = Arc::new(Parts::new(Ports {
            node: self.config.node,
            router,
            replica,
            assets,
            keys: Arc::new(Keys(keys)),
            issuers,
            limits: gateway::limits::Limits::new(&self.config.limits),
            directory: self.node.directory.clone(),
            others: Arc::new(self.node.clone()),
            watches: self.node.watches.clone(),
            recent: self.node.recent.clone(),
            trace: self.node.trace.clone(),
            clock: Arc::clone(&self.clock),
            entropy: Arc::clone(&self.entropy),
            kinds: self.config.push.kinds(),
            key: ApplicationKey::new(configured.clone()),
            search: self.search.clone(),
        }));
        if let Some(reload) = &self.node.reload {
            let parts = Arc::downgrade(&parts);
            reload.limits_to(move |limits| {
                if let Some(parts) = parts.upgrade() {
                    parts.limits.change(limits);
                }
            });
        }
        if let Some(search) = self.search.clone() {
            self.tasks.spawn(search.run(Arc::clone(&parts.replica), self.stop.clone()));
        }
        let leads = self.leads(configured.clone());
        self.push(&parts, Arc::clone(&leads));
        self.retain(&parts, leads);
        self.watch(&parts);
        self.tasks.spawn(empty(
            self.node.id,
            configured.clone(),
            Arc::clone(&self.leaving),
            self.stop.clone(),
        ));
        let elsewhere = elsewhere(self.config.node, configured);
        let leaving = self.leaving.subscribe();
        let sessions = Sessions::new(Arc::clone(&parts), elsewhere, leaving, self.stop.clone());
        (parts, sessions)
    }

    /// Everybody's files, tidied up as long as the node runs.
    fn assets(
        &mut self,
        configured: &Configured,
        router: &Router,
        replica: &Arc<Reader>,
        objects: Option<Objects>,
    ) -> Assets {
        let assets = Assets::new(asset::Ports {
            node: self.config.node,
            local: self.assets.clone(),
            peers: self.node.peers.clone(),
            placement: placement(configured.clone()),
            leads: self.leads(configured.clone()),
            router: router.clone(),
            replica: replica.clone(),
            clock: Arc::clone(&self.clock),
            entropy: Arc::clone(&self.entropy),
            objects,
            settings: self.config.assets.clone(),
            stop: self.stop.clone(),
        });
        assert!(self.uploads.set(assets.downgrade()).is_ok(), "a node begins to serve once");
        let (sweep, stop) = (assets.clone().sweep(), self.stop.clone());
        self.tasks.spawn(async move {
            stop.run_until_cancelled(sweep).await;
        });
        assets
    }

    /// Whether this node leads the shard of a slot.
    fn leads(&self, configured: Configured) -> Leads {
        let raft = self.node.raft.clone();
        Arc::new(move |slot| {
            let config = configured.borrow().clone();
            let group = config.map(|config| config.shard_of(cluster_config::Slot(slot)));
            let group = group.and_then(|group| raft.group(group));
            group.is_some_and(|group| group.status().is_leader)
        })
    }

    /// Tells users of the shards that this node leads who are away.
    fn push(&mut self, parts: &Parts, leads: push::Leads) {
        let letters = DeadLetters {
            leads: Arc::clone(&leads),
            replica: Arc::clone(&parts.replica),
            router: parts.router.clone(),
            hints: self.node.hints.clone(),
        };
        assert!(self.node.letters.set(letters).is_ok(), "a node begins to push once");
        let pusher = Pusher::new(push::Ports {
            hints: self.node.hints.clone(),
            leads,
            replica: Arc::clone(&parts.replica),
            router: parts.router.clone(),
            presence: parts.presence.clone(),
            outgoing: Arc::clone(&self.outgoing),
            clock: Arc::clone(&self.clock),
            entropy: Arc::clone(&self.entropy),
            key: parts.key.clone(),
            services: Arc::clone(&self.services),
            settings: self.config.push.clone(),
        });
        self.tasks.spawn(pusher.run(self.stop.clone()));
    }

    /// Tells links of those whom they watch.
    fn watch(&mut self, parts: &Parts) {
        let watcher = Watcher {
            watches: parts.watches.clone(),
            directory: parts.directory.clone(),
            others: Arc::clone(&parts.others),
            replica: Arc::clone(&parts.replica),
            router: parts.router.clone(),
            clock: Arc::clone(&self.clock),
        };
        self.tasks.spawn(watcher.run(self.stop.clone()));
    }

    /// Erases what has expired in the shards that this node leads.
    fn retain(&mut self, parts: &Parts, leads: push::Leads) {
        let worker = retention::Worker {
            known: self.node.retained.clone(),
            leads,
            replica: Arc::clone(&parts.replica),
            router: parts.router.clone(),
            clock: Arc::clone(&self.clock),
        };
        self.tasks.spawn(worker.run(self.stop.clone()));
    }

    /// Keeps the token keys ready for use as group 0 changes them.
    fn follow_keys(&mut self, mut configured: Configured) -> watch::Receiver<Arc<KeySet>> {
        let (tell, told) = watch::channel(key_set(&configured));
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            while let Some(Ok(())) = stop.run_until_cancelled(configured.changed()).await {
                tell.send_replace(key_set(&configured));
            }
        });
        told
    }
}

fn key_set(configured: &Configured) -> Arc<KeySet> {
    let config = configured.borrow().clone();
    let keys = config.iter().flat_map(|config| &config.keys);
    let seeds: Vec<TokenSeed> = keys
        .map(|key| TokenSeed { id: key.id.to_string(), seed: key.seed, retired: key.retired })
        .collect();
    let history_epoch = config.as_ref().map_or(0, |config| config.history_epoch);
    Arc::new(KeySet::of_epoch(&seeds, history_epoch))
}

/// The cluster's token keys as group 0 has them now.
struct Keys(watch::Receiver<Arc<KeySet>>);

impl TokenKeys for Keys {
    fn current(&self) -> Arc<KeySet> {
        self.0.borrow().clone()
    }
}

/// Which nodes keep the assets of a slot, as group 0 has it now: those who vote on it.
fn placement(configured: Configured) -> Placement {
    Arc::new(move |slot| {
        let config = configured.borrow().clone();
        let Some(config) = config else { return Vec::new() };
        let group = config.shard_of(cluster_config::Slot(slot));
        // Whoever shall vote soon takes the bytes already.
        let now = config.replicas(group);
        let soon = config.voters_wished(group).iter().filter(|node| !now.contains(node));
        now.iter().chain(soon).map(|node| node.0).collect()
    })
}

/// Over how much time the links of a node that drains or is decommissioned go elsewhere: few enough at once that the others do not
/// notice, soon enough that an operator waits for it.
const DRAIN_OVER: Duration = Duration::from_secs(20);

/// Has links go while the cluster wants this node to have none.
async fn empty(
    node: raft::NodeId,
    mut configured: Configured,
    leaving: Arc<watch::Sender<Option<Duration>>>,
    stop: CancellationToken,
) {
    loop {
        let config = configured.borrow_and_update().clone();
        let state = config.and_then(|config| Some(config.nodes.get(&node)?.state));
        let leaves = matches!(state, Some(NodeState::Draining | NodeState::Leaving));
        let over = leaves.then_some(DRAIN_OVER);
        // Whoever stops is in a greater hurry.
        let stops = *leaving.borrow() == Some(STOP_OVER);
        leaving.send_if_modified(|now| !stops && std::mem::replace(now, over) != over);
        if !matches!(stop.run_until_cancelled(configured.changed()).await, Some(Ok(()))) {
            return;
        }
    }
}

/// Where else a client may go.
fn elsewhere(node: u64, configured: Configured) -> Elsewhere {
    Arc::new(move || {
        let config = configured.borrow().clone();
        config.map_or_else(Vec::new, |config| membership::elsewhere(&config, raft::NodeId(node)))
    })
}
