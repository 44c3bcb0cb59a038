//! Claims about losing leaders: quickly replaced, nothing acknowledged lost, nothing doubled, nothing
//! claimed that is not so.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use raft::{Certainty, Group, GroupId, NodeId, ProposeError};

use crate::harness::{Cluster, eventually, nodes::ALL};

const GROUP: GroupId = GroupId(1);

fn others(id: NodeId) -> Vec<NodeId> {
    ALL.into_iter().filter(|other| *other != id).collect()
}

#[tokio::test]
async fn all_groups_of_a_lost_node_have_new_leaders_without_any_election_timer() {
    let mut cluster = Cluster::start(9, |config| config.threads = 1).await;
    for number in 1..=9 {
        cluster.write(GroupId(number), "before").await;
    }
    let lost = NodeId(1);
    cluster.kill(lost).await;
    cluster.notice_lost(lost);
    for number in 1..=9 {
        let leader = cluster.leader(GroupId(number)).await;
        assert_ne!(leader, lost);
    }
    for number in 1..=9 {
        cluster.write(GroupId(number), "after").await;
    }
    cluster.stop().await;
}

/// Writes numbered commands through whoever leads, until told to stop; notes what was acknowledged and
/// what may have been written.
struct Writer {
    groups: Vec<Group>,
    acknowledged: Vec<Bytes>,
    unknown: Vec<Bytes>,
    definite: Vec<Bytes>,
}

impl Writer {
    async fn run(mut self, name: usize, stop: Arc<tokio::sync::Notify>) -> Self {
        let mut number = 0;
        let stopped = stop.notified();
        tokio::pin!(stopped);
        while futures::poll!(&mut stopped).is_pending() {
            number += 1;
            let command = Bytes::from(format!("{name}.{number}"));
            let group = self.groups.iter().find(|group| group.status().is_leader);
            let Some(group) = group.cloned() else {
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            };
            match group.propose(command.clone()).await {
                Ok(_) => self.acknowledged.push(command),
                Err(error) if error.certainty() == Certainty::Unknown => self.unknown.push(command),
                Err(_) => {
                    self.definite.push(command);
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }
        self
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_and_nothing_refused_appears_when_leaders_die() {
    let mut cluster = Cluster::start(1, |config| config.threads = 1).await;
    cluster.write(GROUP, "first").await;
    let mut all = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..3 {
        let stop = Arc::new(tokio::sync::Notify::new());
        let groups: Vec<_> = ALL.iter().map(|id| cluster.group(*id, GROUP)).collect();
        let writers: Vec<_> = (0..8)
            .map(|name| {
                let (acknowledged, unknown, definite) = Default::default();
                let writer = Writer { groups: groups.clone(), acknowledged, unknown, definite };
                tokio::spawn(writer.run(round * 100 + name, stop.clone()))
            })
            .collect();
        let enough = cluster.table(ALL[0], GROUP).list().len() + 200;
        eventually("the writers get on", || async {
            cluster.table(ALL[0], GROUP).list().len() > enough
        })
        .await;
        let lost = cluster.leader(GROUP).await;
        cluster.kill(lost).await;
        cluster.notice_lost(lost);
        let leader = cluster.leader(GROUP).await;
        let more = cluster.table(leader, GROUP).list().len() + 200;
        eventually("the writers get on again", || async {
            cluster.table(leader, GROUP).list().len() > more
        })
        .await;
        stop.notify_waiters();
        for writer in writers {
            let writer = writer.await.expect("a writer ends");
            all.0.extend(writer.acknowledged);
            all.1.extend(writer.unknown);
            all.2.extend(writer.definite);
        }
        cluster.boot(lost).await;
        cluster.notice_back(lost);
    }
    let last = cluster.write(GROUP, "last").await;
    assert!(!last.is_empty());
    let len = cluster.table(cluster.leader(GROUP).await, GROUP).list().len();
    let list = cluster.converged(&ALL, GROUP, len).await;
    let mut seen: BTreeMap<Bytes, usize> = BTreeMap::new();
    list.into_iter().for_each(|command| *seen.entry(command).or_default() += 1);
    assert!(seen.values().all(|times| *times == 1), "a command was applied twice");
    assert!(all.0.len() > 600, "the test did not write");
    for command in &all.0 {
        assert!(seen.contains_key(command), "{command:?} was acknowledged and is gone");
    }
    for command in &all.2 {
        assert!(!seen.contains_key(command), "{command:?} was refused and is there");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn a_cut_off_leader_claims_nothing_and_the_others_go_on() {
    let cluster =
        Cluster::start(1, |config| config.commit_patience = Duration::from_millis(300)).await;
    cluster.write(GROUP, "before").await;
    let old = cluster.leader(GROUP).await;
    let group = cluster.group(old, GROUP);
    cluster.isolate(old);
    let orphan = group.submit("orphan".into()).expect("it still believes to lead");
    let waiting = group.submit("waiting".into()).expect("it waits behind the first");
    assert_eq!(orphan.await, Err(ProposeError::Unknown), "it was appended and not committed");
    assert_eq!(waiting.await, Err(ProposeError::Unavailable), "it was never appended");
    assert_eq!(group.submit("late".into()).err(), Some(ProposeError::Unavailable));

    for other in others(old) {
        cluster.believe(other, old, false);
        cluster.believe(old, other, false);
    }
    let leader = cluster.leader_among(&others(old), GROUP).await;
    let outcome = cluster.group(leader, GROUP).propose("after".into()).await;
    outcome.expect("the majority goes on");

    cluster.wire.heal();
    for other in others(old) {
        cluster.believe(other, old, true);
        cluster.believe(old, other, true);
    }
    let list = cluster.converged(&ALL, GROUP, 2).await;
    assert_eq!(list, [Bytes::from("before"), Bytes::from("after")]);
    cluster.stop().await;
}

#[tokio::test]
async fn a_leader_that_sees_no_quorum_refuses_at_once() {
    let cluster = Cluster::start(1, |_| ()).await;
    cluster.write(GROUP, "before").await;
    let leader = cluster.leader(GROUP).await;
    for other in others(leader) {
        cluster.believe(leader, other, false);
    }
    let error = cluster.group(leader, GROUP).propose("now".into()).await;
    assert_eq!(error, Err(ProposeError::Unavailable));
    for other in others(leader) {
        cluster.believe(leader, other, true);
    }
    cluster.write(GROUP, "after").await;
    assert_eq!(cluster.converged(&ALL, GROUP, 2).await.len(), 2);
    cluster.stop().await;
}

#[tokio::test]
async fn a_cut_off_node_raises_no_term() {
    // Short timers: the cut-off node's own ones must fire during the test.
    let cluster = Cluster::start(1, |config| {
        config.heartbeat = Duration::from_millis(50);
        config.election_min = Duration::from_millis(200);
        config.election_max = Duration::from_millis(300);
    })
    .await;
    cluster.write(GROUP, "before").await;
    let leader = cluster.leader(GROUP).await;
    let term = cluster.group(leader, GROUP).status().term;
    let cut = others(leader)[0];
    cluster.isolate(cut);
    let calls = cluster.wire.calls();
    // It has asked in vain, several times: more calls than the sound pair makes for itself.
    eventually("timers fire", || async { cluster.wire.calls() > calls + 60 }).await;
    assert_eq!(cluster.group(cut, GROUP).status().term, term, "pre-votes raise no term");
    cluster.wire.heal();
    cluster.write(GROUP, "after").await;
    cluster.converged(&ALL, GROUP, 2).await;
    assert_eq!(cluster.leader(GROUP).await, leader, "the leader was not disturbed");
    assert_eq!(cluster.group(leader, GROUP).status().term, term);
    cluster.stop().await;
}

#[tokio::test]
async fn leadership_is_handed_over_and_proposals_follow() {
    let cluster =
        Cluster::start(1, |config| config.balance_after = Duration::from_secs(3600)).await;
    cluster.write(GROUP, "before").await;
    let leader = cluster.leader(GROUP).await;
    for to in others(leader) {
        let from = cluster.leader(GROUP).await;
        cluster.group(from, GROUP).transfer_leader(to).await.expect("it takes over");
        eventually("the other leads", || async { cluster.leader(GROUP).await == to }).await;
        cluster.write(GROUP, "after").await;
    }
    assert_eq!(cluster.converged(&ALL, GROUP, 3).await.len(), 3);
    cluster.stop().await;
}

#[tokio::test]
async fn a_transfer_that_nobody_takes_up_does_not_freeze_the_group() {
    let cluster =
        Cluster::start(1, |config| config.balance_after = Duration::from_secs(3600)).await;
    cluster.write(GROUP, "before").await;
    let leader = cluster.leader(GROUP).await;
    let (to, third) = (others(leader)[0], others(leader)[1]);
    // The chosen one hears nothing and says nothing, and nobody has noticed yet.
    cluster.isolate(to);
    let old = cluster.group(leader, GROUP);
    let handing = tokio::spawn(async move { old.transfer_leader(to).await });
    eventually("the third takes up", || async { cluster.group(third, GROUP).status().is_leader })
        .await;
    handing.await.expect("no panic").expect("somebody took over");
    cluster.wire.heal();
    cluster.write(GROUP, "after").await;
    assert_eq!(cluster.converged(&ALL, GROUP, 2).await.len(), 2);
    cluster.stop().await;
}

#[tokio::test]
async fn a_restarted_node_gets_its_groups_back() {
    let mut cluster =
        Cluster::start(3, |config| config.balance_after = Duration::from_millis(300)).await;
    for number in 1..=3 {
        cluster.write(GroupId(number), "before").await;
    }
    cluster.kill(NodeId(1)).await;
    cluster.notice_lost(NodeId(1));
    assert_ne!(cluster.leader(GROUP).await, NodeId(1));
    cluster.write(GROUP, "between").await;
    cluster.boot(NodeId(1)).await;
    cluster.notice_back(NodeId(1));
    eventually("its group comes back", || async {
        cluster.group(NodeId(1), GROUP).status().is_leader
    })
    .await;
    cluster.write(GROUP, "after").await;
    assert_eq!(cluster.converged(&ALL, GROUP, 3).await.len(), 3);
    cluster.stop().await;
}
