//! The last step of starting: gateway and sessions over the shards, and the client plane over both.

use std::sync::Arc;

use tokio::sync::watch;
use transport::ServerIdentity;
use transport::client_plane::{self, Limits};

use super::{Error, Running, read};
use crate::asset::{self, Assets, Leads, Placement};
use crate::cluster::Configured;
use crate::council::Council;
use crate::gateway::issuers::Issuers;
use crate::gateway::operators::{self, Desk};
use crate::gateway::tokens::{KeySet, TokenKeys, TokenSeed};
use crate::gateway::{self, Parts, Ports};
use crate::membership;
use crate::notify::Notify;
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
        let (parts, sessions) = self.front(router, configured, issuers);
        let tls = &self.config.tls;
        let identity = ServerIdentity::from_pem(
            &read(&tls.client_certificate).await?,
            &read(&tls.client_key).await?,
        )?;
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
        let issuers = Issuers::load(&self.config.auth.issuers).await;
        let issuers =
            issuers.map_err(|problem| Error::Config(format!("auth.issuers: {problem}")))?;
        self.tasks.spawn(issuers.clone().follow(self.stop.clone()));
        Ok(issuers)
    }

    /// Gateway and sessions over the shards.
    pub(crate) fn front(
        &mut self,
        router: Router,
        configured: Configured,
        issuers: Issuers,
    ) -> (Arc<Parts>, Sessions) {
        let keys = self.follow_keys(configured.clone());
        let replica = Arc::new(Reader::new(Arc::clone(&self.tables)));
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
            settings: self.config.assets,
            stop: self.stop.clone(),
        });
        assert!(self.uploads.set(assets.downgrade()).is_ok(), "a node begins to serve once");
        let (sweep, stop) = (assets.clone().sweep(), self.stop.clone());
        self.tasks.spawn(async move {
            stop.run_until_cancelled(sweep).await;
        });
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
            clock: Arc::clone(&self.clock),
            entropy: Arc::clone(&self.entropy),
            kinds: self.config.push.kinds(),
            key: ApplicationKey::new(configured.clone()),
        }));
        let leads = self.leads(configured.clone());
        self.push(&parts, Arc::clone(&leads));
        self.retain(&parts, leads);
        self.watch(&parts);
        let elsewhere = elsewhere(self.config.node, configured);
        let sessions = Sessions::new(Arc::clone(&parts), elsewhere, self.stop.clone());
        (parts, sessions)
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
    Arc::new(KeySet::new(&seeds))
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

/// Where else a client may go.
fn elsewhere(node: u64, configured: Configured) -> Elsewhere {
    Arc::new(move || {
        let config = configured.borrow().clone();
        config.map_or_else(Vec::new, |config| membership::elsewhere(&config, raft::NodeId(node)))
    })
}
