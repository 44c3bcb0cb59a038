//! Nodes that can be started, killed, cut off and restarted.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use raft::{
    Certainty, Clock, Config, Founding, Group, GroupId, NodeId, Progress, ProposeError, Raft, Wish,
};
use store::{Journal, JournalConfig, MemoryDisk, disk::Pace};

use super::{
    eventually,
    sluggish::{Dial, Sluggish},
    table::{State, Table},
    wire::Wire,
};

pub(crate) const ALL: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

/// Small, so that the tests go through several segments.
pub(crate) const SMALL_SEGMENT: u64 = 256 << 10;

/// Counts; nothing decides by it.
pub(crate) struct CountingClock(AtomicU64);

impl Clock for CountingClock {
    fn now_ms(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

struct Node {
    disk: MemoryDisk,
    dial: Arc<Dial>,
    tables: BTreeMap<GroupId, Table>,
    raft: Option<Raft>,
    journal: Option<Journal>,
    founding: Founding,
}

/// Nodes and the groups that run on all of them.
pub(crate) struct Cluster {
    pub(crate) wire: Arc<Wire>,
    nodes: BTreeMap<NodeId, Node>,
    groups: u32,
    /// Groups that were split off.
    split: BTreeSet<GroupId>,
    segment_bytes: u64,
    adjust: fn(&mut Config),
}

/// Settings under which no test can wait for the engine's own election timers: they are longer than
/// any deadline here, and so are the leases.
fn config(node: NodeId) -> Config {
    Config {
        threads: 0,
        election_min: Duration::from_secs(60),
        election_max: Duration::from_secs(90),
        ..Config::new(node)
    }
}

impl Cluster {
    /// Starts three nodes with groups `1..=groups`; group `g` prefers node `(g - 1) % 3 + 1`.
    pub(crate) async fn start(groups: u32, adjust: fn(&mut Config)) -> Self {
        Self::start_with(groups, SMALL_SEGMENT, adjust).await
    }

    /// The same, with segments of a certain size.
    pub(crate) async fn start_with(
        groups: u32,
        segment_bytes: u64,
        adjust: fn(&mut Config),
    ) -> Self {
        Self::found(&ALL, groups, segment_bytes, adjust).await
    }

    /// Starts these nodes as the founders of all groups.
    pub(crate) async fn found(
        founders: &[NodeId],
        groups: u32,
        segment_bytes: u64,
        adjust: fn(&mut Config),
    ) -> Self {
        let mut cluster = Self::prepare(founders, groups, segment_bytes, adjust);
        for node in founders {
            cluster.boot(*node).await;
        }
        cluster
    }

    /// The founders of all groups with empty disks, none of which runs.
    pub(crate) fn prepare(
        founders: &[NodeId],
        groups: u32,
        segment_bytes: u64,
        adjust: fn(&mut Config),
    ) -> Self {
        let (wire, nodes, split) = Default::default();
        let mut cluster = Self { wire, nodes, groups, split, segment_bytes, adjust };
        let founding = Founding::Members(founders.iter().copied().collect());
        for node in founders {
            cluster.place(*node, founding.clone());
        }
        cluster
    }

    /// Gives a node that never ran a state to begin with, as restoring a backup does.
    pub(crate) fn refound(&mut self, id: NodeId, group: GroupId, index: u64, list: Vec<Bytes>) {
        let node = self.nodes.get_mut(&id).expect("one of all");
        let applied = raft::founding_state(&ALL.into(), index).expect("they are three");
        let state = State { applied: applied.clone(), list };
        let table = node.tables.entry(group).or_default();
        *table.memory.lock().expect("not poisoned") = state.clone();
        *table.disk.lock().expect("not poisoned") = state;
        let config =
            JournalConfig { segment_bytes: self.segment_bytes, ..JournalConfig::new([1; 16]) };
        let journal = Journal::open(Arc::new(node.disk.clone()), config).expect("an empty disk");
        raft::found_after(&journal, group, &applied).expect("it has no log");
        assert!(raft::found_after(&journal, group, &applied).is_err(), "once");
        journal.close();
    }

    /// Starts a node that nobody has added to anything yet.
    pub(crate) async fn join(&mut self, id: NodeId) {
        self.place(id, Founding::Join);
        self.boot(id).await;
    }

    fn place(&mut self, id: NodeId, founding: Founding) {
        let disk = MemoryDisk::new(Pace::Inline);
        let (tables, dial) = (BTreeMap::new(), Dial::new());
        let node = Node { disk, dial, tables, raft: None, journal: None, founding };
        self.nodes.insert(id, node);
    }

    /// Asks whoever leads for one step after the other until the group is as wished, however often the leader changes.
    pub(crate) async fn reach(&self, group: GroupId, wish: &Wish) {
        let reached = || async {
            let leads = |id: &NodeId| self.group(*id, group).status().is_leader;
            let Some(leader) = self.running().into_iter().find(leads) else { return false };
            let step = self.group(leader, group).set_members(wish.clone()).await;
            matches!(step, Ok(Progress::Done))
        };
        eventually("the group is as wished", reached).await;
    }

    /// Starts or restarts a node on what its disks hold.
    pub(crate) async fn boot(&mut self, id: NodeId) {
        let mut config = config(id);
        (self.adjust)(&mut config);
        let node = self.nodes.get_mut(&id).expect("one of all");
        assert!(node.raft.is_none(), "it does not run");
        let journal =
            JournalConfig { segment_bytes: self.segment_bytes, ..JournalConfig::new([1; 16]) };
        let disk = Sluggish { disk: node.disk.clone(), dial: node.dial.clone() };
        let journal = Journal::open(Arc::new(disk), journal);
        let clock = Arc::new(CountingClock(AtomicU64::new(0)));
        let journal = journal.expect("the disk is sound");
        node.journal = Some(journal.clone());
        let raft = Raft::open(config, journal, self.wire.end(id), clock);
        let raft = raft.expect("the settings are sound");
        raft.know(ALL);
        self.wire.plug(id, raft.clone());
        for number in 1..=self.groups {
            let group = GroupId(number);
            let table = node.tables.entry(group).or_default();
            let founding = node.founding.clone();
            let started = raft.start(group, table.machine(), founding, preferred(group)).await;
            started.expect("a group starts");
        }
        node.raft = Some(raft);
        for group in self.split.clone() {
            self.start_split(id, group).await.expect("a group starts");
        }
    }

    /// What a split leaves on a node, in the same batch as what the entry does: not flushed yet.
    pub(crate) fn leave_split(&mut self, id: NodeId, to: GroupId, left: State) {
        let node = self.nodes.get_mut(&id).expect("one of all");
        let table = node.tables.entry(to).or_default();
        *table.memory.lock().expect("not poisoned") = left;
        self.split.insert(to);
    }

    /// Starts a group that was split off, with what that left on this node, if anything.
    pub(crate) async fn start_split(
        &mut self,
        id: NodeId,
        to: GroupId,
    ) -> Result<Group, raft::Error> {
        let node = self.nodes.get_mut(&id).expect("one of all");
        let machine = node.tables.entry(to).or_default().machine();
        let raft = node.raft.clone().expect("it runs");
        raft.start(to, machine, Founding::Split, preferred(to)).await
    }

    /// How slow a node's disk is.
    pub(crate) fn dial(&self, node: NodeId) -> &Dial {
        &self.nodes[&node].dial
    }

    pub(crate) fn raft(&self, node: NodeId) -> &Raft {
        self.nodes[&node].raft.as_ref().expect("it runs")
    }

    pub(crate) fn group(&self, node: NodeId, group: GroupId) -> Group {
        self.raft(node).group(group).expect("it was started")
    }

    pub(crate) fn table(&self, node: NodeId, group: GroupId) -> Table {
        self.nodes[&node].tables[&group].clone()
    }

    /// How many entries of a group's log are gone from a node.
    pub(crate) fn purged(&self, node: NodeId, group: GroupId) -> u64 {
        let journal = self.nodes[&node].journal.as_ref().expect("it runs");
        journal.group(group.0).state().purged.map_or(0, |at| at.index + 1)
    }

    pub(crate) fn running(&self) -> Vec<NodeId> {
        self.nodes.iter().filter(|(_, node)| node.raft.is_some()).map(|(id, _)| *id).collect()
    }

    /// Ends a node without a word to the others: its process is gone, its disks stay.
    pub(crate) async fn kill(&mut self, id: NodeId) {
        self.wire.unplug(id);
        let node = self.nodes.get_mut(&id).expect("one of all");
        node.raft.take().expect("it runs").shutdown().await;
        node.journal = None;
        node.disk = node.disk.kill();
    }

    /// After a kill: the power was lost as well, so only what was flushed is left of the tables, and
    /// of the journal what its barriers covered, with a random part of the rest.
    pub(crate) fn lose_power(&mut self, id: NodeId, seed: u64) {
        let node = self.nodes.get_mut(&id).expect("one of all");
        assert!(node.raft.is_none(), "it was killed");
        node.disk = node.disk.power_loss(seed);
        node.tables.values().for_each(Table::lose_power);
    }

    /// After a kill: its tables were damaged, and set aside.
    pub(crate) fn lose_tables(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).expect("one of all");
        assert!(node.raft.is_none(), "it was killed");
        node.tables.clear();
    }

    /// What a node's journal lies on.
    pub(crate) fn disk(&self, id: NodeId) -> &MemoryDisk {
        &self.nodes[&id].disk
    }

    /// The detectors of the other nodes, and of nobody else, notice that a node is gone.
    pub(crate) fn notice_lost(&self, id: NodeId) {
        for other in self.running().into_iter().filter(|other| *other != id) {
            self.believe(other, id, false);
        }
    }

    pub(crate) fn notice_back(&self, id: NodeId) {
        for other in self.running().into_iter().filter(|other| *other != id) {
            self.believe(other, id, true);
        }
    }

    /// One detector changes its opinion.
    pub(crate) fn believe(&self, who: NodeId, of: NodeId, alive: bool) {
        self.wire.believe(who, of, alive);
        if alive {
            self.raft(who).peer_back(of);
        } else {
            self.raft(who).peer_lost(of);
        }
    }

    /// Nothing reaches this node or leaves it. No detector notices by itself.
    pub(crate) fn isolate(&self, id: NodeId) {
        for other in self.nodes.keys().copied().filter(|other| *other != id) {
            self.wire.cut(id, other);
            self.wire.cut(other, id);
        }
    }

    /// Waits until one of the running nodes leads the group, with its first entry applied everywhere.
    pub(crate) async fn leader(&self, group: GroupId) -> NodeId {
        self.leader_among(&self.running(), group).await
    }

    pub(crate) async fn leader_among(&self, nodes: &[NodeId], group: GroupId) -> NodeId {
        let found = || {
            let mut leaders = nodes.iter().filter(|id| self.group(**id, group).status().is_leader);
            let leader = leaders.next().copied()?;
            let known = |id: &NodeId| self.group(*id, group).status().leader == Some(leader);
            nodes.iter().all(known).then_some(leader)
        };
        eventually("the nodes agree on a leader", || async { found().is_some() }).await;
        found().expect("just seen")
    }

    /// Proposes until it is accepted, as a client would that knows its command was not written.
    pub(crate) async fn write(&self, group: GroupId, command: &str) -> Bytes {
        let command = Bytes::copy_from_slice(command.as_bytes());
        loop {
            let leader = self.leader(group).await;
            match self.group(leader, group).propose(command.clone()).await {
                Ok(outcome) => return outcome,
                Err(ProposeError::Unknown) => panic!("nothing disturbs this write"),
                Err(error) => assert_eq!(error.certainty(), Certainty::Definite),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until all these nodes have the same list, and gives it.
    pub(crate) async fn converged(
        &self,
        nodes: &[NodeId],
        group: GroupId,
        len: usize,
    ) -> Vec<Bytes> {
        let lists = || nodes.iter().map(|id| self.table(*id, group).list()).collect::<Vec<_>>();
        eventually("the nodes have the same list", || async {
            let lists = lists();
            lists.iter().all(|list| list.len() >= len && *list == lists[0])
        })
        .await;
        lists().swap_remove(0)
    }

    pub(crate) async fn stop(mut self) {
        for id in self.running() {
            self.kill(id).await;
        }
    }
}

/// Which node should lead a group.
pub(crate) fn preferred(group: GroupId) -> NodeId {
    ALL[(group.0 as usize - 1) % ALL.len()]
}
