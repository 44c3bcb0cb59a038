//! Whole nodes over a network in memory: votes move while clients write, and whoever goes is let go.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chat::UserId;
use cluster_config::{Command, NodeState, Outcome, Setting};
use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt as _};
use parking_lot::Mutex;
use store::{Blobs, Journal, JournalConfig, MemoryDisk, MemoryTables, OneFolder, Pace};
use tokio::sync::broadcast;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use transport::peer::{Lane, Liveness, PeerError, PeerHandler};

use super::*;
use crate::clock::{ManualClock, SeededEntropy};
use crate::config::Config;
use crate::digest::DigestTempo;
use crate::hosted::{Front, Host, HostView, Surroundings};
use crate::plane::Plane;
use crate::push::NoOutgoing;

/// How long a condition may take to hold, in virtual time. Far longer than it should.
const DEADLINE: Duration = Duration::from_secs(120);

/// The cables between all nodes. Who is cut off hears nobody and is heard by nobody.
#[derive(Default)]
struct Wire {
    handlers: Mutex<BTreeMap<u64, Arc<dyn PeerHandler>>>,
    gone: Mutex<BTreeSet<u64>>,
    tell: Mutex<BTreeMap<u64, broadcast::Sender<Liveness>>>,
}

impl Wire {
    fn connects(&self, one: u64, other: u64) -> bool {
        let gone = self.gone.lock();
        one == other || !gone.contains(&one) && !gone.contains(&other)
    }

    fn set(&self, node: u64, alive: bool) {
        if alive {
            self.gone.lock().remove(&node);
        } else {
            self.gone.lock().insert(node);
        }
        let tell = self.tell.lock();
        for (other, news) in tell.iter().filter(|(other, _)| **other != node) {
            // Nobody may listen yet.
            let _ = news.send(Liveness { node, alive });
            if let Some(own) = tell.get(&node) {
                let _ = own.send(Liveness { node: *other, alive });
            }
        }
    }
}

struct End {
    me: u64,
    wire: Arc<Wire>,
}

impl Plane for End {
    fn call(
        &self,
        to: u64,
        lane: Lane,
        request: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, PeerError>> {
        let (me, wire) = (self.me, Arc::clone(&self.wire));
        let handler = wire.handlers.lock().get(&to).cloned();
        let Some(handler) = handler.filter(|_| wire.connects(me, to)) else {
            return Box::pin(async { Err(PeerError::Unreachable) });
        };
        let answer = handler.call(me, lane, request);
        Box::pin(async move {
            let answer = timeout(deadline, answer).await.map_err(|_| PeerError::Timeout)?;
            if wire.connects(me, to) {
                answer.map_err(PeerError::Refused)
            } else {
                Err(PeerError::Lost)
            }
        })
    }

    fn send_bulk(
        &self,
        to: u64,
        header: Bytes,
        chunks: BoxStream<'static, Result<Bytes, String>>,
    ) -> BoxFuture<'static, Result<Bytes, PeerError>> {
        let handler = self.wire.handlers.lock().get(&to).cloned();
        let Some(handler) = handler.filter(|_| self.wire.connects(self.me, to)) else {
            return Box::pin(async { Err(PeerError::Unreachable) });
        };
        let chunks = chunks.map(|chunk| chunk.map_err(PeerError::Refused)).boxed();
        let answer = handler.bulk(self.me, header, chunks);
        Box::pin(async move { answer.await.map_err(PeerError::Refused) })
    }

    // The wires join all nodes of a test, and their number does not change.
    fn add_peer(&self, _node: u64, _address: String) {}

    fn remove_peer(&self, _node: u64) {}

    fn alive(&self, node: u64) -> bool {
        self.wire.connects(self.me, node) && self.wire.handlers.lock().contains_key(&node)
    }

    fn cut(&self, _nodes: BTreeSet<u64>) {}

    fn liveness(&self) -> broadcast::Receiver<Liveness> {
        let mut tell = self.wire.tell.lock();
        tell.entry(self.me).or_insert_with(|| broadcast::Sender::new(64)).subscribe()
    }
}

/// Founders `1..=count` of a cluster with four shards, three votes in each.
pub(crate) struct Nodes {
    wire: Arc<Wire>,
    pub(crate) views: BTreeMap<u64, HostView>,
    /// What lies under each.
    pub(crate) tables: BTreeMap<u64, MemoryTables>,
    tempo: DigestTempo,
    fronts: Arc<Mutex<BTreeMap<u64, Front>>>,
    ended: Arc<Mutex<BTreeMap<u64, String>>>,
    stop: CancellationToken,
}

fn file(node: u64, count: u64) -> String {
    let address = |node: u64, port: u64| format!("127.0.0.1:{}", 2000 + node * 10 + port);
    let addresses = |node: u64, indent: &str| {
        let planes = ["client", "peer", "operations"];
        let lines = (0..)
            .zip(planes)
            .map(|(port, plane)| format!("{plane} = \"{}\"\n", address(node, port)));
        format!("{indent}\n{}", lines.collect::<String>())
    };
    let mut file =
        format!("node = {node}\ndata = \"/nowhere\"\n{}[tls]\n", addresses(node, "[listen]"));
    for name in ["authority", "client_certificate", "client_key", "peer_certificate", "peer_key"] {
        file.push_str(&format!("{name} = \"/nowhere\"\n"));
    }
    file.push_str("[cluster]\nid = \"moved\"\nshards = 4\nreplication = 3\n");
    for node in 1..=count {
        file.push_str(&addresses(node, &format!("[[cluster.nodes]]\nid = {node}")));
    }
    file
}

impl Nodes {
    async fn found(count: u64) -> Self {
        Self::found_with(count, DigestTempo::default()).await
    }

    /// The same, whose replicas are compared at this tempo.
    pub(crate) async fn found_with(count: u64, tempo: DigestTempo) -> Self {
        let mut nodes = Self {
            wire: Arc::default(),
            views: BTreeMap::new(),
            tables: BTreeMap::new(),
            tempo,
            fronts: Arc::default(),
            ended: Arc::default(),
            stop: CancellationToken::new(),
        };
        for node in 1..=count {
            nodes.start(node, count);
        }
        nodes
            .eventually("all nodes serve", |nodes| nodes.fronts.lock().len() == count as usize)
            .await;
        nodes
    }

    fn start(&mut self, node: u64, count: u64) {
        let disk = MemoryDisk::new(Pace::Inline);
        let journal = Journal::open(Arc::new(disk), JournalConfig::new([node as u8; 16]));
        let blobs = Blobs::new(Arc::new(OneFolder(Arc::new(MemoryDisk::default()))), None);
        let surroundings = Surroundings {
            journal: journal.expect("an empty disk is sound"),
            tables: Arc::new(self.tables.entry(node).or_default().clone()),
            blobs,
            raft: raft::Config {
                threads: 0,
                balance_after: Duration::from_millis(200),
                ..raft::Config::new(NodeId(node))
            },
            clock: Arc::new(ManualClock::at(1_700_000_000_000)),
            entropy: Arc::new(SeededEntropy::new(node)),
            plane: Arc::new(End { me: node, wire: Arc::clone(&self.wire) }),
            outgoing: Arc::new(NoOutgoing),
            mailboxes: None,
            digests: self.tempo,
        };
        let config = Config::parse(&file(node, count), Path::new("/")).expect("a legal file");
        let host = Host::open(config, surroundings, self.stop.child_token());
        let host = host.expect("the settings are legal");
        self.wire.handlers.lock().insert(node, host.handler());
        self.views.insert(node, host.view());
        let (fronts, ended) = (Arc::clone(&self.fronts), Arc::clone(&self.ended));
        tokio::spawn(async move {
            let error = host.run(move |front| drop(fronts.lock().insert(node, front))).await;
            ended.lock().insert(node, error.to_string());
        });
    }

    pub(crate) async fn eventually(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let waited = timeout(DEADLINE, async {
            while !holds(self) {
                assert!(self.ended.lock().is_empty(), "{:?}", self.ended.lock());
                sleep(Duration::from_millis(20)).await;
            }
        });
        if waited.await.is_err() {
            let groups: Vec<_> = self.views.values().map(HostView::groups).collect();
            panic!("never: {what}: {groups:#?} {:?}", self.map());
        }
    }

    /// The newest map that anybody has.
    pub(crate) fn map(&self) -> ClusterConfig {
        let maps = self.views.values().filter_map(|view| view.cluster().expect("readable"));
        maps.max_by_key(|map| map.epoch).expect("founded")
    }

    /// Has group 0 decide something, whoever leads it.
    pub(crate) async fn decide(&self, command: Command) {
        for _ in 0..600 {
            let leads = |view: &&HostView| {
                view.groups().iter().any(|group| group.group == 0 && group.leads)
            };
            if let Some(view) = self.views.values().find(leads)
                && let Some(outcome) = view.decide(&command).await
            {
                assert!(!matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("nobody decides {command:?}");
    }

    /// Whether each group has exactly these to choose its voters from, as many as it should have, and nobody else.
    fn is_settled(&self, nodes: &[u64], council: usize) -> bool {
        let all: BTreeSet<u64> = nodes.iter().copied().collect();
        let map = self.map();
        let still = map.groups().all(|group| map.moving(group).is_none());
        let ids: BTreeSet<u64> = map.nodes.keys().map(|id| id.0).collect();
        let leaders = |group: u32| {
            let views = nodes.iter().flat_map(|node| self.views[node].groups());
            views.filter(|view| view.group == group && view.leads).collect::<Vec<_>>()
        };
        still
            && ids.is_superset(&all)
            && map.groups().all(|group| {
                let wished: BTreeSet<u64> =
                    map.voters_wished(group).iter().map(|id| id.0).collect();
                let number = if group.is_cluster() { council } else { 3 };
                let observers: BTreeSet<u64> = ids.difference(&wished).copied().collect();
                let right = wished.len() == number && wished.is_subset(&all);
                let led = leaders(group.0);
                let arrived = |leader: &crate::hosted::GroupView| {
                    leader.voters == wished && leader.observers == observers
                };
                right && led.len() == 1 && led.iter().all(arrived)
            })
    }

    /// Clients that make users through these nodes, one after the other, until told to stop. How many were made.
    pub(crate) fn write(
        &self,
        nodes: &[u64],
        name: &'static str,
    ) -> tokio::task::JoinHandle<Vec<UserId>> {
        let fronts: Vec<Front> =
            nodes.iter().map(|node| self.fronts.lock()[node].clone()).collect();
        let stop = self.stop.clone();
        tokio::spawn(async move {
            let mut made = Vec::new();
            for number in 0.. {
                if stop.is_cancelled() || number == 300 {
                    break;
                }
                let user = UserId::parse(&format!("{name}-{number}")).expect("a legal name");
                let front = &fronts[number % fronts.len()];
                // Whether it took several attempts is the client's affair.
                while front.sign_in(user.clone(), 1).await.is_none() {
                    sleep(Duration::from_millis(20)).await;
                }
                made.push(user);
                sleep(Duration::from_millis(10)).await;
            }
            made
        })
    }

    /// All replicas of all shards hold the same rows, and these users are among them.
    pub(crate) async fn agree(&self, nodes: &[u64], users: &[UserId]) {
        let rows = |node: &u64| {
            let groups = (1..=4).map(|group| self.views[node].rows_of(group).expect("readable"));
            groups.collect::<Vec<_>>()
        };
        let same = |_: &Self| nodes.iter().all(|node| rows(node) == rows(&nodes[0]));
        self.eventually("all replicas are the same", same).await;
        for node in nodes {
            for user in users {
                assert!(self.views[node].has_user(user), "{user} is gone from node {node}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_node_carries_every_group_and_three_of_five_vote() {
    let nodes = Nodes::found(5).await;
    let all = [1, 2, 3, 4, 5];
    nodes.eventually("all are members", |nodes| nodes.is_settled(&all, 5)).await;
    let users = nodes.write(&all, "anyone").await.expect("no panic");
    assert_eq!(users.len(), 300);
    nodes.agree(&all, &users).await;
    let map = nodes.map();
    assert!(map.shards.values().all(|shard| shard.moves == 0), "nothing had to move");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_leaves_gives_up_its_votes_under_load_and_is_forgotten() {
    let nodes = Nodes::found(5).await;
    let rest = [1, 3, 4, 5];
    nodes.eventually("all are members", |nodes| nodes.is_settled(&[1, 2, 3, 4, 5], 5)).await;
    let writing = nodes.write(&rest, "during");
    nodes.decide(Command::SetNodeState { node: NodeId(2), state: NodeState::Leaving }).await;
    nodes.eventually("it is forgotten", |nodes| !nodes.map().nodes.contains_key(&NodeId(2))).await;
    nodes.eventually("the others vote", |nodes| nodes.is_settled(&rest, 3)).await;
    let users = writing.await.expect("no panic");
    assert_eq!(users.len(), 300);
    nodes.agree(&rest, &users).await;
    nodes.eventually("it has ended its groups", |nodes| nodes.views[&2].groups().is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_nodes_votes_are_given_to_others_and_it_comes_back_as_it_can() {
    let nodes = Nodes::found(5).await;
    let all = [1, 2, 3, 4, 5];
    nodes.eventually("all are members", |nodes| nodes.is_settled(&all, 5)).await;
    let soon = Setting::RepairAfter(Duration::from_secs(10));
    nodes.decide(Command::ChangeSetting(soon)).await;
    let before = nodes.write(&[1, 2, 4, 5], "before").await.expect("no panic");
    nodes.wire.set(3, false);
    let gone = |nodes: &Nodes| {
        let map = nodes.map();
        let votes = map.votes_of(NodeId(3));
        map.nodes[&NodeId(3)].state == NodeState::Lost
            && votes.iter().all(|group| group.is_cluster())
            && map.groups().all(|group| map.moving(group).is_none())
    };
    nodes.eventually("its shards are others'", gone).await;
    let during = nodes.write(&[1, 2, 4, 5], "during").await.expect("no panic");
    nodes.wire.set(3, true);
    let back = |nodes: &Nodes| nodes.map().nodes[&NodeId(3)].state == NodeState::Ready;
    nodes.eventually("it is ready again", back).await;
    nodes.eventually("everything stands still", |nodes| nodes.is_settled(&all, 5)).await;
    let users: Vec<UserId> = before.into_iter().chain(during).collect();
    nodes.agree(&all, &users).await;
}

#[tokio::test(start_paused = true)]
async fn while_an_operator_holds_it_nothing_moves() {
    let nodes = Nodes::found(5).await;
    nodes.eventually("all are members", |nodes| nodes.is_settled(&[1, 2, 3, 4, 5], 5)).await;
    nodes.decide(Command::ChangeSetting(Setting::Rebalance(false))).await;
    nodes.decide(Command::SetNodeState { node: NodeId(2), state: NodeState::Leaving }).await;
    sleep(Duration::from_secs(20)).await;
    assert!(nodes.map().shards.values().all(|shard| shard.moves == 0 && shard.moving.is_none()));
    nodes.decide(Command::ChangeSetting(Setting::Rebalance(true))).await;
    nodes.eventually("it is forgotten", |nodes| !nodes.map().nodes.contains_key(&NodeId(2))).await;
}

#[test]
fn clients_are_sent_to_nodes_that_stay() {
    let node = |id: u64, state: &str| {
        let addresses = format!(r#"{{"client":"c:{id}","peer":"p:1","operations":"o:1"}}"#);
        format!(r#""{id}":{{"addresses":{addresses},"zone":null,"weight":1,"state":"{state}"}}"#)
    };
    let map = |states: [&str; 3]| -> ClusterConfig {
        let nodes: Vec<String> = (1..).zip(states).map(|(id, state)| node(id, state)).collect();
        let rest = r#""voters":[1],"settings":{},"keys":[],"audit":[],"shards":{}"#;
        let text = format!(r#"{{"cluster":"c","epoch":1,"nodes":{{{}}},{rest}}}"#, nodes.join(","));
        serde_json::from_str(&text).expect("a map")
    };
    let to = |states| elsewhere(&map(states), NodeId(1));
    assert_eq!(to(["draining", "ready", "ready"]), ["c:2", "c:3"]);
    assert_eq!(to(["ready", "leaving", "ready"]), ["c:3"]);
    assert_eq!(to(["ready", "draining", "lost"]), ["c:2", "c:3"], "better than nowhere");
}

#[test]
fn only_a_founder_of_a_shard_that_never_moved_founds_it() {
    let text = r#"{"cluster":"c","epoch":9,"nodes":{},"voters":[1],"settings":{},"keys":[],"audit":[],
        "shards":{"1":{"slots":{"start":0,"end":2},"replicas":[1,2,3]},
                  "2":{"slots":{"start":2,"end":4},"replicas":[1,2,3],"moves":1}}}"#;
    let map: ClusterConfig = serde_json::from_str(text).expect("a map");
    let founders = Founding::Members([1, 2, 3].map(NodeId).into());
    assert_eq!(founding(&map, GroupId(1), NodeId(3)), founders);
    assert_eq!(founding(&map, GroupId(1), NodeId(4)), Founding::Join);
    // It votes, but others may have founded it: what it wrote as its first entry could be another.
    assert_eq!(founding(&map, GroupId(2), NodeId(3)), Founding::Join);
}
