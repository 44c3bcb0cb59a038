//! One running group of this node: the engine, its line, its machine's seat, and what this room knows
//! about who leads. The handle that others hold is [`crate::Group`].

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use openraft::{ServerState, async_runtime::watch::WatchReceiver as _};
use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::{Semaphore, watch},
    time::Instant,
};

use crate::{
    Config, Fatal, GroupId, GroupStatus, Network, NodeId, figures,
    lead::Lead,
    line::{Line, Role},
    log::LogFacts,
    members::observers,
    read::Rounds,
    seat::Seat,
    stop::Stop,
    types::{Engine, LeaderId, StoredMembership, Types, Vote, leader_id},
};

/// How long one group may take to make its state durable when its log shall go.
const SHED_WITHIN: Duration = Duration::from_secs(30);

/// A running group.
pub(crate) struct Core {
    pub(crate) id: GroupId,
    pub(crate) node: NodeId,
    /// The number of the node that should lead.
    pub(crate) preferred: AtomicU64,
    pub(crate) config: Arc<Config>,
    pub(crate) engine: Engine,
    pub(crate) line: Arc<Line>,
    pub(crate) seat: Arc<Seat>,
    pub(crate) log: Arc<LogFacts>,
    pub(crate) network: Arc<dyn Network>,
    /// Permits to send snapshots.
    pub(crate) sending: Arc<Semaphore>,
    pub(crate) runtime: Handle,
    pub(crate) status: watch::Sender<GroupStatus>,
    pub(crate) rounds: Rounds,
    pub(crate) lead: Lead,
    /// Held while a step towards another membership is taken.
    pub(crate) stepping: tokio::sync::Mutex<()>,
    pub(crate) stop: Stop,
    /// This node's disk is slow, as its steward found.
    pub(crate) slow_disk: Arc<AtomicBool>,
    /// `shutdown` was called: the end of the engine is no failure.
    pub(crate) closing: AtomicBool,
    /// The engine has ended or is about to; what it says does not count any more.
    pub(crate) ended: AtomicBool,
    /// What the machine is to be told: whether it leads, and in which term.
    pub(crate) told: Arc<Mutex<(bool, u64)>>,
}

/// What the engine says about leadership, unfiltered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct View {
    /// Whose granted vote this replica follows. May be dead.
    pub(crate) leader: Option<NodeId>,
    pub(crate) leads: bool,
    pub(crate) term: u64,
    pub(crate) vote: Vote,
    pub(crate) last_index: Option<u64>,
    pub(crate) voters: BTreeSet<NodeId>,
    pub(crate) observers: BTreeSet<NodeId>,
    pub(crate) changing: bool,
}

impl View {
    /// The leadership that this replica follows or has.
    pub(crate) fn leadership(&self) -> Option<LeaderId> {
        self.leader.map(|leader| leader_id(self.term, leader.0))
    }
}

impl Core {
    /// What the engine said last.
    pub(crate) fn view(&self) -> View {
        let metrics = self.engine.metrics();
        let metrics = metrics.borrow_watched();
        View {
            leader: metrics.current_leader.map(NodeId),
            leads: metrics.state == ServerState::Leader,
            term: metrics.current_term,
            vote: metrics.vote,
            last_index: metrics.last_log_index,
            voters: voters(&metrics.membership_config),
            observers: observers(&metrics.membership_config),
            changing: metrics.membership_config.membership().get_joint_config().len() > 1,
        }
    }

    /// Who should lead while it is alive.
    pub(crate) fn preferred(&self) -> NodeId {
        NodeId(self.preferred.load(Ordering::Acquire))
    }

    /// The detector's opinion; this node is alive to itself.
    pub(crate) fn alive(&self, node: NodeId) -> bool {
        node == self.node || self.network.alive(node)
    }

    /// Whether a node calls its disk slow, this one included.
    pub(crate) fn slow(&self, node: NodeId) -> bool {
        match node == self.node {
            true => self.slow_disk.load(Ordering::Acquire),
            false => self.network.slow(node),
        }
    }

    /// Whether each voter set has a majority that the detector holds for alive.
    pub(crate) fn quorum_alive(&self) -> bool {
        let metrics = self.engine.metrics();
        let metrics = metrics.borrow_watched();
        let sets = metrics.membership_config.membership().get_joint_config();
        !sets.is_empty()
            && sets.iter().all(|set| {
                let alive = set.iter().filter(|node| self.alive(NodeId(**node))).count();
                alive * 2 > set.len()
            })
    }

    /// A leader that is there: this node, or one that the detector hears.
    pub(crate) fn live_leader(&self, view: &View) -> Option<NodeId> {
        match view.leader {
            Some(leader) if leader == self.node => view.leads.then_some(leader),
            Some(leader) => self.alive(leader).then_some(leader),
            None => None,
        }
    }

    /// Takes note of what the engine says, and tells the line, the machine and the watchers.
    pub(crate) fn observe(&self) {
        if self.ended.load(Ordering::Acquire) {
            return;
        }
        let view = self.view();
        let leader = self.live_leader(&view);
        let handing_over = self.lead.handing_over(view.leads, view.term);
        self.line.set_quorum(self.quorum_alive());
        self.line.set_role(match (view.leads, handing_over) {
            (true, None) => Role::Leading { term: view.term },
            (true, Some(to)) => Role::Following { leader: Some(to) },
            (false, _) => Role::Following { leader: leader.filter(|leader| *leader != self.node) },
        });
        self.tell_machine(view.leads, view.term);
        let status = GroupStatus {
            leader,
            is_leader: view.leads,
            term: view.term,
            last_index: view.last_index,
            applied_index: self.seat.applied_index(),
            voters: view.voters,
            observers: view.observers,
            changing: view.changing,
        };
        self.status.send_if_modified(|known| {
            let changed = *known != status && !self.ended.load(Ordering::Acquire);
            if changed {
                if status.leader.is_some() && status.leader != known.leader {
                    figures::LEADER_CHANGES.increment(1);
                }
                known.clone_from(&status);
            }
            changed
        });
    }

    fn tell_machine(&self, leads: bool, term: u64) {
        let mut told = self.told.lock();
        // A follower's term is of no interest to the machine.
        if told.0 == leads && (!leads || told.1 == term) {
            return;
        }
        *told = (leads, term);
        metrics::counter!("raft_role_changes_total").increment(1);
        tracing::info!(group = %self.id, leads, term, "role");
        let (seat, told) = (self.seat.clone(), self.told.clone());
        // The machine belongs to the group's thread. Whichever of several such tasks runs last tells
        // what is true then.
        self.runtime.spawn(async move {
            let (leads, term) = *told.lock();
            // A failure is reported by the seat.
            let _ = seat.with(|machine| {
                machine.leading(leads, term);
                Ok(())
            });
        });
    }

    /// Follows the engine until it ends, and reports an end that nobody asked for.
    pub(crate) async fn follow(self: Arc<Self>) {
        let mut server = self.engine.server_metrics();
        loop {
            self.observe();
            if server.changed().await.is_err() {
                break;
            }
        }
        self.end();
        if !self.closing.load(Ordering::Acquire) {
            let running = self.engine.metrics().borrow_watched().running_state.clone();
            let reason =
                running.err().map_or("its task panicked".into(), |fatal| fatal.to_string());
            self.stop.report(Fatal::new(format!("group {} stopped: {reason}", self.id)));
        }
    }

    /// Nobody will be served any more.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.status.send_modify(|status| {
            status.leader = None;
            status.is_leader = false;
        });
        self.line.set_role(Role::Stopped);
        self.rounds.close();
    }

    /// What was known last, with the indexes of this moment. Cheap.
    pub(crate) fn known(&self) -> GroupStatus {
        let mut status = self.status.borrow().clone();
        status.last_index = self.engine.metrics().borrow_watched().last_log_index;
        status.applied_index = self.seat.applied_index();
        status
    }

    /// Makes what is applied durable, and drops the log up to there.
    pub(crate) async fn shed(self: Arc<Self>) {
        let Some(index) = self.seat.applied_index() else { return };
        let trigger = self.engine.trigger();
        if trigger.snapshot().await.is_err() {
            return;
        }
        let taken = |metrics: &openraft::RaftMetrics<Types>| {
            metrics.snapshot.is_some_and(|at| at.index >= index)
        };
        let wait = self.engine.wait(Some(SHED_WITHIN));
        if wait.metrics(taken, "what is applied is durable").await.is_ok() {
            // An engine that has ended is noticed by `follow`.
            let _ = trigger.purge_log(index).await;
        }
    }

    /// What has to be looked at from time to time.
    pub(crate) fn tick(self: &Arc<Self>, now: Instant) {
        self.line.tick(now);
        self.observe();
        self.tick_lead(now);
    }
}

/// All voters, of both sets while a membership changes.
pub(crate) fn voters(membership: &StoredMembership) -> BTreeSet<NodeId> {
    membership.voter_ids().map(NodeId).collect()
}
