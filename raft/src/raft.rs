//! All groups of one node: starts and ends them, and gives calls of other nodes to the right one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use futures::{
    FutureExt as _,
    future::{BoxFuture, join_all},
    stream::BoxStream,
};
use parking_lot::Mutex;
use tokio::{sync::Semaphore, task::JoinHandle};

use crate::{
    Clock, Config, Error, Fatal, Founding, Group, GroupId, Machine, Network, NetworkError, NodeId,
    codec,
    core::Core,
    inbox,
    line::Beat,
    peers, rebuild, start,
    steward::{self, Groups},
    stop::Stop,
    threads::Threads,
};

/// A handle on all groups of this node. Cheap to clone.
#[derive(Clone)]
pub struct Raft {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) config: Arc<Config>,
    pub(crate) engine_config: Arc<openraft::Config>,
    pub(crate) journal: store::Journal,
    pub(crate) network: Arc<dyn Network>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) beat: Beat,
    pub(crate) sending: Arc<Semaphore>,
    pub(crate) groups: Arc<Groups>,
    /// Who may have the state of a group that is gone here.
    pub(crate) known: Mutex<BTreeSet<NodeId>>,
    /// Groups that wait for their state before they start.
    pub(crate) rebuilding: Mutex<BTreeMap<GroupId, rebuild::Offers>>,
    pub(crate) stop: Stop,
    /// The disk is slow, as the steward found last.
    pub(crate) slow_disk: Arc<AtomicBool>,
    threads: Threads,
    steward: JoinHandle<()>,
    /// Groups that are being opened.
    starting: Mutex<BTreeSet<GroupId>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.steward.abort();
    }
}

impl Raft {
    /// Opens the room; starts its threads, but no group yet. With no threads of its own it must be
    /// called on the runtime that is to run the groups. Takes the journal's hook for fatal errors.
    ///
    /// # Errors
    /// When a thread cannot be started or the settings contradict each other.
    pub fn open(
        config: Config,
        journal: store::Journal,
        network: Arc<dyn Network>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        config.check()?;
        let engine_config = Arc::new(config.engine()?);
        let threads = Threads::open(config.threads)?;
        let stop = Stop::new();
        let hook = stop.clone();
        journal.set_on_fatal(Box::new(move |error| hook.report(error.clone().into())));
        let groups = Arc::new(Groups::new(BTreeMap::new()));
        let slow_disk = Arc::new(AtomicBool::new(false));
        let steward = steward::run(Arc::downgrade(&groups), journal.clone(), slow_disk.clone());
        let steward = threads.common().spawn(steward);
        let inner = Inner {
            config: Arc::new(config),
            engine_config,
            journal,
            network,
            clock,
            beat: Beat::new(),
            sending: Arc::new(Semaphore::new(peers::SENDING_MAX)),
            groups,
            known: Mutex::default(),
            rebuilding: Mutex::default(),
            stop,
            slow_disk,
            threads,
            steward,
            starting: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// These nodes may have what is gone here: whom [`Raft::start`] asks where a machine has lost its state.
    pub fn know(&self, nodes: impl IntoIterator<Item = NodeId>) {
        self.inner.known.lock().extend(nodes);
    }

    /// Starts one group. `founding` says how it begins if the log is empty. `preferred` should lead while it is alive; on a new group it begins to
    /// campaign at once. Where the machine's state is gone and the log is not, this waits until another node has sent it.
    ///
    /// # Errors
    /// When the group runs already, or the log or the machine cannot be read or do not fit together.
    pub async fn start(
        &self,
        group: GroupId,
        machine: Box<dyn Machine>,
        founding: Founding,
        preferred: NodeId,
    ) -> Result<Group, Error> {
        let free = self.group(group).is_none() && self.inner.starting.lock().insert(group);
        if !free {
            return Err(Error::StartedTwice(group));
        }
        let runtime = self.inner.threads.of(group);
        let start = start::Start { group, machine, founding, preferred, runtime: runtime.clone() };
        let inner = self.inner.clone();
        let started = runtime.spawn(async move { start.run(&inner).await }).await;
        self.inner.starting.lock().remove(&group);
        let core = started.unwrap_or_else(|error| {
            Err(Fatal::new(format!("group {group} could not start: {error}")).into())
        })?;
        Ok(Group(core))
    }

    /// Ends one group and leaves its log and state as they are: this node was removed from it. Calls of others are
    /// answered as if it had never run here. Nothing happens when it does not run.
    pub async fn leave(&self, group: GroupId) {
        let core = self.inner.groups.write().remove(&group);
        if let Some(core) = core {
            // Its only error is that the task panicked, which `follow` has noticed.
            let _ = end(core).await;
        }
    }

    /// Whether a leader of this group ever wrote anything that reached this node's log. Its first entry, the same on
    /// every founder, does not count: no leader wrote it.
    pub fn has_begun(&self, group: GroupId) -> bool {
        let state = self.inner.journal.group(group.0).state();
        let beyond_first = |at: &store::LogPosition| at.index > 0;
        state.last.as_ref().is_some_and(beyond_first) || state.purged.is_some()
    }

    /// The handle of a started group.
    pub fn group(&self, id: GroupId) -> Option<Group> {
        self.inner.groups.read().get(&id).cloned().map(Group)
    }

    /// All started groups, in order.
    pub fn groups(&self) -> Vec<GroupId> {
        self.inner.groups.read().keys().copied().collect()
    }

    /// A call on the raft lane that arrived from `from`. It takes its place in the group's queue before
    /// this returns, so the order of calls is kept per group. Must be called, and the answer awaited,
    /// within a runtime.
    pub fn handle(&self, from: NodeId, request: Bytes) -> BoxFuture<'static, Result<Bytes, Error>> {
        match codec::decode_call(request) {
            Ok((group, call)) => match self.group(group) {
                Some(Group(core)) => core.handle(from, call),
                None => inbox::no_such_group(),
            },
            Err(error) => std::future::ready(Err(error)).boxed(),
        }
    }

    /// A snapshot on the bulk lane that arrives from `from`.
    pub fn receive_snapshot(
        &self,
        from: NodeId,
        header: Bytes,
        chunks: BoxStream<'static, Result<Bytes, NetworkError>>,
    ) -> BoxFuture<'static, Result<Bytes, Error>> {
        let head = codec::decode_head(header);
        if let Ok(head) = &head
            && let Some(waits) = self.inner.rebuilding.lock().get(&head.group)
        {
            return rebuild::offer(waits, head.clone(), chunks);
        }
        let receive = head.and_then(|head| {
            let Group(core) = self.group(head.group).ok_or(Error::NoSuchGroup(head.group))?;
            let runtime = core.runtime.clone();
            // The machine belongs to the group's thread.
            Ok(runtime.spawn(core.receive(from, head, chunks)))
        });
        async move { receive?.await.unwrap_or(Err(Error::Stopped)) }.boxed()
    }

    /// The node-level detector holds this node for dead: its groups need new leaders now.
    /// [`Network::alive`] must already say so.
    pub fn peer_lost(&self, node: NodeId) {
        self.liveness_changed(node, false);
    }

    /// The node-level detector hears this node again. [`Network::alive`] must already say so.
    pub fn peer_back(&self, node: NodeId) {
        self.liveness_changed(node, true);
    }

    fn liveness_changed(&self, node: NodeId, alive: bool) {
        let cores: Vec<_> = self.inner.groups.read().values().cloned().collect();
        for core in cores {
            core.liveness_changed(node, alive);
        }
    }

    /// Figures of the journal that all groups share.
    pub fn journal_stats(&self) -> store::JournalStats {
        self.inner.journal.stats()
    }

    /// Begins to look at the journal's first segment after the one of this number; `None` after the last.
    pub fn scrub_journal(&self, after: u32) -> Option<store::Scrub> {
        self.inner.journal.scrub(after)
    }

    /// This segment of the journal is damaged: has nothing need it. What a group has applied is made durable and leaves its
    /// log; its vote and the rest of its log begin again behind. What is not applied yet may still hold the segment when
    /// this returns; ask again then. No other node is needed, and nothing that was promised is forgotten.
    pub async fn leave_segment(&self, number: u32) {
        self.inner.journal.leave_segment(number);
        let cores: Vec<_> = self.inner.groups.read().values().cloned().collect();
        for core in cores {
            // An engine that has ended is noticed by `follow`.
            let _ = core.runtime.clone().spawn(core.shed()).await;
        }
    }

    /// What groups stand on is broken: the process must stop with this reason.
    pub fn fail(&self, reason: Fatal) {
        self.inner.stop.report(reason);
    }

    /// Whether this node's disk is slow, so that it gives up what it leads and others should know.
    pub fn disk_is_slow(&self) -> bool {
        self.inner.slow_disk.load(Ordering::Acquire)
    }

    /// Hands every group that this node leads to another voter that could lead it, all at once: this node is about to stop.
    pub async fn hand_over_all(&self) {
        let cores: Vec<_> = self.inner.groups.read().values().cloned().collect();
        let leads = cores.into_iter().filter_map(|core| Some((core.successor()?, core)));
        let transfers = leads.map(|(to, core)| {
            let runtime = core.runtime.clone();
            runtime.spawn(async move {
                if let Err(error) = core.transfer(to).await {
                    tracing::info!(group = %core.id, %to, %error, "it did not take over");
                }
            })
        });
        join_all(transfers.collect::<Vec<_>>()).await;
    }

    /// Resolves when any group died, or the journal: the process must stop with this reason.
    pub async fn stopped(&self) -> Fatal {
        self.inner.stop.wait().await
    }

    /// Stops all groups and threads. Commands in flight end as unknown.
    pub async fn shutdown(&self) {
        self.inner.steward.abort();
        let cores = std::mem::take(&mut *self.inner.groups.write());
        join_all(cores.into_values().map(end).collect::<Vec<_>>()).await;
        self.inner.threads.close().await;
    }
}

/// Ends one group, on its own runtime.
fn end(core: Arc<Core>) -> JoinHandle<()> {
    core.closing.store(true, Ordering::Release);
    core.end();
    let runtime = core.runtime.clone();
    runtime.spawn(async move {
        // Its only error is that the engine's task panicked, which `follow` has noticed.
        let _ = core.engine.shutdown().await;
    })
}
