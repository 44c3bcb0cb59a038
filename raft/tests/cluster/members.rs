//! Claims about who belongs to a group: it grows and shrinks under load and through the loss of its leaders, whoever is
//! added gets everything, and whoever is removed disturbs nobody.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use raft::{Certainty, Config, Founding, Group, GroupId, NodeId, Progress, ProposeError, Wish};
use tokio::sync::Notify;

use crate::harness::{
    Cluster, eventually,
    nodes::{ALL, SMALL_SEGMENT, preferred},
};

const GROUP: GroupId = GroupId(1);
const FIVE: [NodeId; 5] = [NodeId(1), NodeId(2), NodeId(3), NodeId(4), NodeId(5)];

fn nodes(ids: &[u64]) -> BTreeSet<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

fn wish(voters: &[u64], observers: &[u64]) -> Wish {
    Wish { voters: nodes(voters), observers: nodes(observers) }
}

async fn alone(adjust: fn(&mut Config)) -> Cluster {
    Cluster::found(&[NodeId(1)], 1, SMALL_SEGMENT, adjust).await
}

/// A client that numbers its commands, has one under way at a time, and repeats only what certainly was not written.
struct Client {
    name: usize,
    groups: Vec<Group>,
    acknowledged: Vec<Bytes>,
    unknown: Vec<Bytes>,
}

impl Client {
    async fn run(mut self, stop: Arc<Notify>) -> Self {
        let stopped = stop.notified();
        tokio::pin!(stopped);
        let mut number = 0;
        while futures::poll!(&mut stopped).is_pending() {
            let command = Bytes::from(format!("{}.{number}", self.name));
            let leads = |group: &&Group| group.status().is_leader;
            let Some(group) = self.groups.iter().find(leads).cloned() else {
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            };
            match group.propose(command.clone()).await {
                Ok(_) => self.acknowledged.push(command),
                Err(error) if error.certainty() == Certainty::Unknown => self.unknown.push(command),
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    continue;
                }
            }
            number += 1;
        }
        self
    }
}

/// Clients that write while something happens to the group.
struct Load {
    stop: Arc<Notify>,
    clients: Vec<tokio::task::JoinHandle<Client>>,
}

impl Load {
    fn begin(cluster: &Cluster, first: usize) -> Self {
        let stop = Arc::new(Notify::new());
        let groups: Vec<_> =
            cluster.running().into_iter().map(|id| cluster.group(id, GROUP)).collect();
        let client = |name| Client {
            name,
            groups: groups.clone(),
            acknowledged: Vec::new(),
            unknown: Vec::new(),
        };
        let clients =
            (first..first + 6).map(|name| tokio::spawn(client(name).run(stop.clone()))).collect();
        Self { stop, clients }
    }

    async fn end(self, written: &mut Written) {
        self.stop.notify_waiters();
        for client in self.clients {
            let client = client.await.expect("a client ends");
            written.acknowledged.extend(client.acknowledged);
            written.unknown.extend(client.unknown);
        }
    }
}

#[derive(Default)]
struct Written {
    acknowledged: Vec<Bytes>,
    unknown: Vec<Bytes>,
}

impl Written {
    /// Every acknowledged command is there once, in the order of its client, and nothing that nobody wrote.
    fn judge(&self, list: &[Bytes]) {
        let mut seen: BTreeMap<&Bytes, usize> = BTreeMap::new();
        for (place, command) in list.iter().enumerate() {
            assert!(seen.insert(command, place).is_none(), "{command:?} was applied twice");
        }
        let mut last: BTreeMap<&[u8], usize> = BTreeMap::new();
        for command in &self.acknowledged {
            let place = *seen.get(command).unwrap_or_else(|| panic!("{command:?} is gone"));
            let client = command.split(|byte| *byte == b'.').next().expect("a name");
            let before = last.insert(client, place);
            assert!(before < Some(place), "{command:?} overtook an earlier one");
        }
        let unknown: BTreeSet<&Bytes> = self.unknown.iter().collect();
        let acknowledged: BTreeSet<&Bytes> = self.acknowledged.iter().collect();
        for command in seen.keys().filter(|command| command.starts_with(b"1")) {
            assert!(unknown.contains(command) || acknowledged.contains(command), "{command:?}?");
        }
    }
}

/// Goes to a membership while clients write before, meanwhile and afterwards.
async fn reach_under_load(cluster: &Cluster, first: usize, wish: &Wish, written: &mut Written) {
    let load = Load::begin(cluster, first);
    let len = |cluster: &Cluster| {
        cluster.running().iter().map(|id| cluster.table(*id, GROUP).list().len()).max()
    };
    let more = len(cluster).map(|len| len + 50);
    eventually("the clients write", || async { len(cluster) > more }).await;
    cluster.reach(GROUP, wish).await;
    let more = len(cluster).map(|len| len + 50);
    eventually("the clients go on", || async { len(cluster) > more }).await;
    load.end(written).await;
}

#[tokio::test]
async fn a_group_grows_from_one_to_three_to_five_and_back_under_load() {
    let mut cluster = alone(|config| config.threads = 1).await;
    cluster.write(GROUP, "0").await;
    let mut written = Written::default();
    cluster.join(NodeId(2)).await;
    cluster.join(NodeId(3)).await;
    reach_under_load(&cluster, 100, &wish(&[1, 2, 3], &[]), &mut written).await;
    cluster.join(NodeId(4)).await;
    cluster.join(NodeId(5)).await;
    reach_under_load(&cluster, 110, &wish(&[1, 2, 3], &[4, 5]), &mut written).await;
    reach_under_load(&cluster, 120, &wish(&[1, 2, 3, 4, 5], &[]), &mut written).await;
    // The leader is among those who go.
    reach_under_load(&cluster, 130, &wish(&[3, 4, 5], &[1, 2]), &mut written).await;
    let leader = cluster.leader(GROUP).await;
    assert!(nodes(&[3, 4, 5]).contains(&leader), "{leader} does not vote");
    let status = cluster.group(leader, GROUP).status();
    assert_eq!(status.voters, nodes(&[3, 4, 5]));
    assert_eq!(status.observers, nodes(&[1, 2]));
    assert!(!status.changing);
    cluster.write(GROUP, "0.last").await;
    assert!(written.acknowledged.len() > 300, "{} written", written.acknowledged.len());
    let list = cluster.converged(&FIVE, GROUP, written.acknowledged.len()).await;
    written.judge(&list);
    cluster.stop().await;
}

#[tokio::test]
async fn one_node_hands_its_only_vote_to_another() {
    let mut cluster = alone(|_| ()).await;
    cluster.write(GROUP, "before").await;
    cluster.join(NodeId(2)).await;
    cluster.reach(GROUP, &wish(&[2], &[1])).await;
    assert_eq!(cluster.leader(GROUP).await, NodeId(2));
    cluster.kill(NodeId(1)).await;
    cluster.notice_lost(NodeId(1));
    cluster.group(NodeId(2), GROUP).propose("after".into()).await.expect("it needs nobody else");
    assert_eq!(cluster.converged(&[NodeId(2)], GROUP, 2).await.len(), 2);
    cluster.stop().await;
}

#[tokio::test]
async fn the_next_leader_ends_the_change_in_whose_middle_the_last_one_died() {
    let mut cluster = Cluster::start(1, |config| config.threads = 1).await;
    cluster.write(GROUP, "0").await;
    cluster.join(NodeId(4)).await;
    cluster.join(NodeId(5)).await;
    cluster.reach(GROUP, &wish(&[1, 2, 3], &[4, 5])).await;
    let old = cluster.leader(GROUP).await;
    let (others, mut written) =
        (FIVE.into_iter().filter(|id| *id != old).collect::<Vec<_>>(), Written::default());
    let load = Load::begin(&cluster, 100);
    // It reaches one other and no more: the change is appended and cannot be committed.
    let heard = others[0];
    for other in &others[1..] {
        cluster.wire.cut(old, *other);
    }
    let group = cluster.group(old, GROUP);
    let wished = wish(&[1, 2, 3, 4, 5], &[]);
    let asked = wished.clone();
    let change = tokio::spawn(async move { group.set_members(asked).await });
    eventually("the other has the joint membership", || async {
        cluster.group(heard, GROUP).status().changing
    })
    .await;
    cluster.kill(old).await;
    assert!(change.await.expect("no panic").is_err(), "it was never committed there");
    cluster.wire.heal();
    cluster.notice_lost(old);
    let leader = cluster.leader_among(&others, GROUP).await;
    cluster.reach(GROUP, &wished).await;
    let status = cluster.group(leader, GROUP).status();
    assert_eq!((status.voters, status.changing), (wished.voters, false));
    load.end(&mut written).await;
    cluster.boot(old).await;
    cluster.notice_back(old);
    cluster.write(GROUP, "0.last").await;
    let list = cluster.converged(&FIVE, GROUP, written.acknowledged.len()).await;
    written.judge(&list);
    cluster.stop().await;
}

#[tokio::test]
async fn whoever_is_not_heard_is_given_no_vote() {
    let mut cluster = Cluster::start(1, |_| ()).await;
    cluster.write(GROUP, "before").await;
    cluster.join(NodeId(4)).await;
    cluster.reach(GROUP, &wish(&[1, 2, 3], &[4])).await;
    let leader = cluster.leader(GROUP).await;
    cluster.believe(leader, NodeId(4), false);
    let step = cluster.group(leader, GROUP).set_members(wish(&[1, 2, 4], &[3])).await;
    assert_eq!(step.expect("it leads"), Progress::Unheard(nodes(&[4])));
    assert_eq!(cluster.group(leader, GROUP).status().voters, nodes(&[1, 2, 3]));
    cluster.stop().await;
}

#[tokio::test]
async fn whoever_loses_its_vote_observes_from_the_same_entry_on() {
    let mut cluster = Cluster::start(1, |_| ()).await;
    cluster.write(GROUP, "before").await;
    cluster.join(NodeId(4)).await;
    cluster.reach(GROUP, &wish(&[1, 2, 3], &[4])).await;
    let leader = cluster.leader(GROUP).await;
    let stays = ALL.into_iter().find(|id| *id != leader).expect("two of them");
    let wished = wish(&[leader.0, stays.0, 4], &[1, 2, 3, 4]);
    let group = cluster.group(leader, GROUP);
    eventually("the newcomer has caught up", || async {
        let step = group.set_members(wished.clone()).await.expect("it leads");
        step == Progress::Stepped
    })
    .await;
    let done = group.set_members(wished.clone()).await;
    assert_eq!(done.expect("it leads"), Progress::Done, "nobody had to be added again");
    cluster.stop().await;
}

#[tokio::test]
async fn only_the_leader_takes_a_step() {
    let cluster = Cluster::start(1, |_| ()).await;
    let leader = cluster.leader(GROUP).await;
    let other = ALL.into_iter().find(|id| *id != leader).expect("two of them");
    cluster.group(other, GROUP).set_members(wish(&[1], &[2, 3])).await.expect_err("it follows");
    assert_eq!(cluster.group(leader, GROUP).status().voters, nodes(&[1, 2, 3]));
    cluster.stop().await;
}

#[tokio::test]
async fn an_observer_reads_what_was_acknowledged_before_and_never_leads() {
    let mut cluster = Cluster::start(1, |config| config.threads = 1).await;
    let observer = NodeId(4);
    cluster.join(observer).await;
    cluster.reach(GROUP, &wish(&[1, 2, 3], &[4])).await;
    for number in 0..20 {
        cluster.write(GROUP, &format!("{number}")).await;
        cluster.group(observer, GROUP).linearize().await.expect("a leader confirms");
        assert!(cluster.table(observer, GROUP).list().len() > number, "stale");
    }
    let error = cluster.group(observer, GROUP).propose("here".into()).await.expect_err("refused");
    assert!(matches!(error, ProposeError::NotLeader { leader: Some(_) }), "{error:?}");
    // With one voter of three and one observer left, two are alive, and they are no quorum.
    let leader = cluster.leader(GROUP).await;
    let gone: Vec<_> = ALL.into_iter().filter(|id| *id != leader).collect();
    for id in &gone {
        cluster.kill(*id).await;
    }
    gone.iter().for_each(|id| cluster.notice_lost(*id));
    let refused = cluster.group(leader, GROUP).propose("alone".into()).await;
    assert_eq!(refused, Err(ProposeError::Unavailable), "an observer is no voter");
    cluster.kill(leader).await;
    cluster.notice_lost(leader);
    let calls = cluster.wire.calls();
    let term = cluster.group(observer, GROUP).status().term;
    // Many times as long as a voter would wait.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let status = cluster.group(observer, GROUP).status();
    assert_eq!((status.term, status.leader), (term, None), "it did not campaign");
    assert_eq!(cluster.wire.calls(), calls, "it asked nobody");
    cluster.stop().await;
}

/// Snapshots often and keeps almost nothing, in small chunks.
fn eager(config: &mut Config) {
    config.snapshot_entries = 50;
    config.keep_entries = 10;
    config.chunk_bytes = 64;
}

#[tokio::test]
async fn an_observer_behind_the_purged_log_catches_up_by_snapshot_and_then_votes() {
    let mut cluster = Cluster::start(1, eager).await;
    for number in 0..300 {
        cluster.write(GROUP, &format!("{number}")).await;
    }
    let leader = cluster.leader(GROUP).await;
    eventually("the log is purged", || async { cluster.purged(leader, GROUP) >= 200 }).await;
    cluster.join(NodeId(4)).await;
    cluster.reach(GROUP, &wish(&[1, 2, 4], &[3])).await;
    assert!(cluster.wire.snapshots() > 0, "it must have needed one");
    cluster.write(GROUP, "after").await;
    let list = cluster.converged(&FIVE[..4], GROUP, 301).await;
    assert_eq!(list[300], Bytes::from("after"));
    // What it was sent is durable, its membership included.
    cluster.kill(NodeId(4)).await;
    cluster.lose_power(NodeId(4), 7);
    cluster.boot(NodeId(4)).await;
    cluster.converged(&FIVE[..4], GROUP, 301).await;
    eventually("it votes again", || async {
        cluster.group(NodeId(4), GROUP).status().voters == nodes(&[1, 2, 4])
    })
    .await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_removed_node_gets_nothing_more_and_stops_quietly() {
    let mut cluster = Cluster::start(1, |config| config.threads = 1).await;
    cluster.join(NodeId(4)).await;
    cluster.reach(GROUP, &wish(&[1, 2, 4], &[3])).await;
    cluster.write(GROUP, "before").await;
    cluster.converged(&FIVE[..4], GROUP, 1).await;
    cluster.reach(GROUP, &wish(&[1, 2, 4], &[])).await;
    let left = [NodeId(1), NodeId(2), NodeId(4)];
    let leader = cluster.leader_among(&left, GROUP).await;
    let term = cluster.group(leader, GROUP).status().term;
    cluster.group(leader, GROUP).propose("after".into()).await.expect("they need nobody else");
    cluster.converged(&left, GROUP, 2).await;
    cluster.raft(NodeId(3)).leave(GROUP).await;
    assert!(cluster.raft(NodeId(3)).group(GROUP).is_none());
    cluster.raft(NodeId(3)).leave(GROUP).await;
    let stopped =
        tokio::time::timeout(Duration::from_millis(50), cluster.raft(NodeId(3)).stopped());
    assert!(stopped.await.is_err(), "an end that was asked for is no failure");
    assert_eq!(cluster.table(NodeId(3), GROUP).list().len(), 1, "what came later never came here");
    let status = cluster.group(leader, GROUP).status();
    assert_eq!((status.term, status.is_leader), (term, true), "nobody was disturbed");
    cluster.stop().await;
}

#[tokio::test]
async fn a_joining_node_founds_nothing_and_waits_however_often_it_restarts() {
    let mut cluster = Cluster::start(1, |_| ()).await;
    cluster.write(GROUP, "before").await;
    cluster.join(NodeId(4)).await;
    cluster.kill(NodeId(4)).await;
    cluster.boot(NodeId(4)).await;
    let status = cluster.group(NodeId(4), GROUP).status();
    assert_eq!((status.last_index, status.voters.len(), status.leader), (None, 0, None));
    cluster.reach(GROUP, &wish(&[1, 2, 3], &[4])).await;
    assert_eq!(cluster.converged(&FIVE[..4], GROUP, 1).await, [Bytes::from("before")]);
    cluster.stop().await;
}

#[tokio::test]
async fn whoever_is_preferred_later_is_given_the_group() {
    let cluster =
        Cluster::start(1, |config| config.balance_after = Duration::from_millis(100)).await;
    cluster.write(GROUP, "before").await;
    assert_eq!(cluster.leader(GROUP).await, preferred(GROUP));
    let next = NodeId(3);
    ALL.iter().for_each(|id| cluster.group(*id, GROUP).prefer(next));
    eventually("it leads", || async { cluster.group(next, GROUP).status().is_leader }).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_group_of_nobody_is_not_founded() {
    let cluster = Cluster::start(1, |_| ()).await;
    let table = cluster.table(NodeId(1), GROUP);
    let nobody = Founding::Members(BTreeSet::new());
    let started = cluster.raft(NodeId(1)).start(GroupId(9), table.machine(), nobody, NodeId(1));
    assert!(started.await.is_err());
    cluster.stop().await;
}
