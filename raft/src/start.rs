//! How a group begins: a new one is founded by the same first entry on every node, so that no two
//! nodes ever disagree about it; one that was here before is only opened; and whoever joins has nothing until the
//! group's leader sends it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64},
    },
};

use openraft::EmptyNode;
use parking_lot::Mutex;
use tokio::{runtime::Handle, sync::watch};

use crate::{
    Error, Fatal, Founding, GroupId, GroupStatus, Machine, NodeId, Position,
    core::Core,
    driver::Driver,
    eager,
    lead::Lead,
    line::{Line, Propose},
    log::{LogFacts, LogStore},
    peers::Peers,
    raft::Inner,
    read::Rounds,
    rebuild,
    seat::Seat,
    types::{Engine, Entry, EntryPayload, Membership, leader_id, log_id},
};

/// The position of a group's first entry: written by nobody, before any term.
const FOUNDING: Position = Position { term: 0, node: 0, index: 0 };

/// What is needed to start one group.
pub(crate) struct Start {
    pub(crate) group: GroupId,
    pub(crate) machine: Box<dyn Machine>,
    pub(crate) founding: Founding,
    pub(crate) preferred: NodeId,
    pub(crate) runtime: Handle,
}

impl Start {
    /// Runs on the group's own runtime, where all the engine's tasks will live.
    pub(crate) async fn run(self, inner: &Arc<Inner>) -> Result<Arc<Core>, Error> {
        let (group, config) = (self.group, inner.config.clone());
        let log = LogFacts::new(group, inner.stop.clone());
        let store = LogStore::new(inner.journal.group(group.0), log.clone());
        let seat = Seat::open(group, self.machine, log.clone(), inner.stop.clone())?;
        if store.is_new() {
            match (&self.founding, seat.state().position) {
                // The seat has made this state durable; from here on the log may rely on it.
                (Founding::Split, Some(at)) if is_nobodys(at) => {
                    store.begin_after(at).await.map_err(Fatal::from)?;
                }
                (_, Some(_)) => {
                    let text =
                        format!("group {group}: its machine has a state but its log is gone");
                    return Err(Fatal::new(text).into());
                }
                (Founding::Members(members), None) => {
                    store.found(first_entry(members)?).await.map_err(Fatal::from)?;
                }
                (Founding::Split | Founding::Join, None) => {}
            }
        } else {
            rebuild::go_together(inner, group, &seat, &store).await?;
        }
        let line = Line::new(&config, inner.clock.clone(), inner.beat, inner.stop.clone());
        let driver = Driver::open(config.node.0, seat.clone(), log.clone(), line.clone())?;
        let peers = Peers {
            node: config.node,
            group,
            network: inner.network.clone(),
            sending: inner.sending.clone(),
            chunk_bytes: config.chunk_bytes,
        };
        let engine =
            Engine::build(config.node.0, inner.engine_config.clone(), peers, store, driver).await;
        let engine = engine.map_err(|e| Fatal::new(format!("group {group}: {e}")))?;
        line.connect(propose(engine.clone(), config.node.0, self.runtime.clone()));
        let core = Arc::new(Core {
            id: group,
            node: config.node,
            preferred: AtomicU64::new(self.preferred.0),
            config,
            engine,
            line,
            seat,
            log,
            network: inner.network.clone(),
            sending: inner.sending.clone(),
            runtime: self.runtime,
            status: watch::Sender::new(GroupStatus::default()),
            rounds: Rounds::default(),
            lead: Lead::default(),
            stepping: tokio::sync::Mutex::default(),
            stop: inner.stop.clone(),
            slow_disk: inner.slow_disk.clone(),
            closing: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            told: Arc::new(Mutex::new((false, 0))),
        });
        inner.groups.write().insert(group, core.clone());
        core.seat.run();
        core.engine.run();
        core.runtime.spawn(core.clone().follow());
        if core.preferred() == core.node {
            core.campaign(None);
        }
        Ok(core)
    }
}

/// Whether a group begins there: no leader has such a term.
fn is_nobodys(at: Position) -> bool {
    (at.term, at.node) == (FOUNDING.term, FOUNDING.node)
}

/// The first membership as an entry, the same on every node.
fn first_entry(members: &BTreeSet<NodeId>) -> Result<Entry, Error> {
    let voters: BTreeSet<u64> = members.iter().map(|node| node.0).collect();
    let nodes: BTreeMap<u64, EmptyNode> = voters.iter().map(|node| (*node, EmptyNode {})).collect();
    if voters.is_empty() {
        return Err(Error::NotNow("a group needs members".into()));
    }
    let membership = Membership::new(vec![voters], nodes)
        .map_err(|e| Error::NotNow(format!("these members make no group: {e}")))?;
    Ok(Entry { log_id: log_id(FOUNDING), payload: EntryPayload::Membership(membership) })
}

/// How the line reaches the engine: on the submitter's thread, unless the engine's queue is full.
fn propose(engine: Engine, node: u64, runtime: Handle) -> Propose {
    Box::new(move |term, data, done| {
        let engine = engine.clone();
        let mut write = eager::start(async move {
            // Refused, definitely, if the leadership has changed meanwhile.
            let leadership = leader_id(term, node);
            // On failure the engine is gone, and `done` was dropped, which tells the line.
            let _ = engine.write(data).with_leader(leadership).responder(done).await;
        });
        if futures::FutureExt::now_or_never(&mut write).is_none() {
            runtime.spawn(write);
        }
    })
}
