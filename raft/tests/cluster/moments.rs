//! Claims about views behind an entry that is still to come: whoever compares replicas relies on them.

use std::time::Duration;

use bytes::Bytes;
use raft::{Config, GroupId, NodeId, Position, Rows};
use tokio::time::timeout;

use crate::harness::{Cluster, eventually, nodes::ALL};

const GROUP: GroupId = GroupId(1);

/// Where a view stands and what it shows.
type Shown = (Option<Position>, Vec<Bytes>);

fn all(mut rows: Box<dyn Rows>) -> Vec<Bytes> {
    let mut values = Vec::new();
    while let Some(chunk) = rows.next_chunk(1 << 20).expect("memory is readable") {
        values.extend(chunk.into_iter().map(|(_, value)| value));
    }
    values
}

/// What `node` has behind `index`; the entry comes sooner or later.
async fn behind(cluster: &Cluster, node: NodeId, index: u64) -> Option<Shown> {
    let group = cluster.group(node, GROUP);
    let viewed = timeout(Duration::from_secs(30), group.view_at(index)).await;
    let viewed = viewed.expect("the entry comes").expect("the group runs");
    viewed.map(|(state, rows)| (state.position, all(rows)))
}

#[tokio::test]
async fn every_replica_shows_the_state_behind_the_same_entry_while_others_write_on() {
    let cluster = Cluster::start(1, |_| {}).await;
    cluster.write(GROUP, "before").await;
    let leader = cluster.leader(GROUP).await;
    let last = cluster.group(leader, GROUP).status().last_index.expect("something was written");
    let index = last + 40;
    // One hears nothing of it until all is written: then entries come to its machine in batches that would go beyond.
    let late = ALL.into_iter().rfind(|node| *node != leader).expect("there are three");
    cluster.isolate(late);
    cluster.notice_lost(late);
    let group = cluster.group(leader, GROUP);
    let writes = async {
        for number in 0..120 {
            let at_once = (0..8).map(|part| group.propose(Bytes::from(format!("{number}.{part}"))));
            for written in futures::future::join_all(at_once).await {
                written.expect("nothing disturbs this write");
            }
        }
        cluster.wire.heal();
        cluster.notice_back(late);
    };
    let views = futures::future::join_all(ALL.map(|node| behind(&cluster, node, index)));
    let (views, ()) = tokio::join!(views, writes);
    let first = views[0].clone().expect("it was asked for in time");
    assert_eq!(first.0.map(|at| at.index), Some(index), "exactly there, not at the end of a batch");
    for (node, view) in ALL.into_iter().zip(&views) {
        assert_eq!(view.as_ref(), Some(&first), "node {node}");
    }
    let written = cluster.converged(&ALL, GROUP, 961).await;
    assert!(first.1.len() < written.len() && written.starts_with(&first.1), "others wrote on");
    assert_eq!(behind(&cluster, leader, index).await, None, "all are beyond it now");
    cluster.stop().await;
}

#[tokio::test]
async fn a_replica_at_rest_shows_what_it_has() {
    let cluster = Cluster::start(1, |_| {}).await;
    for text in ["one", "two"] {
        cluster.write(GROUP, text).await;
    }
    cluster.converged(&ALL, GROUP, 2).await;
    let leader = cluster.leader(GROUP).await;
    let last = cluster.group(leader, GROUP).status().last_index.expect("something was written");
    for node in ALL {
        let (at, list) = behind(&cluster, node, last).await.expect("nothing is beyond it");
        assert_eq!(at.map(|at| at.index), Some(last));
        assert_eq!(list, ["one", "two"].map(|text| Bytes::from_static(text.as_bytes())));
    }
    cluster.stop().await;
}

#[tokio::test]
async fn a_replica_that_a_snapshot_carries_beyond_says_that_it_cannot_show_it() {
    fn eager(config: &mut Config) {
        config.snapshot_entries = 50;
        config.keep_entries = 10;
    }
    let cluster = Cluster::start(1, eager).await;
    cluster.write(GROUP, "before").await;
    cluster.leader(GROUP).await;
    let away = NodeId(3);
    cluster.isolate(away);
    cluster.notice_lost(away);
    let at = cluster.group(away, GROUP).status().applied_index.expect("it has begun");
    let group = cluster.group(away, GROUP);
    let waits =
        tokio::spawn(async move { group.view_at(at + 30).await.map(|view| view.is_some()) });
    for number in 0..300 {
        let leader = cluster.leader_among(&ALL[..2], GROUP).await;
        let written = cluster.group(leader, GROUP).propose(Bytes::from(format!("{number}"))).await;
        written.expect("two of three are there");
    }
    let leader = cluster.leader_among(&ALL[..2], GROUP).await;
    eventually("the log is purged", || async { cluster.purged(leader, GROUP) >= 200 }).await;
    cluster.wire.heal();
    cluster.notice_back(away);
    cluster.converged(&ALL, GROUP, 301).await;
    let shown = timeout(Duration::from_secs(30), waits).await.expect("it is told");
    assert!(!shown.expect("no panic").expect("the group runs"), "it never stood there");
    // Who came by a snapshot stands where the others do.
    let last = cluster.group(leader, GROUP).status().last_index.expect("much was written");
    let views = futures::future::join_all(ALL.map(|node| behind(&cluster, node, last))).await;
    assert!(views[0].is_some() && views.iter().all(|view| *view == views[0]));
    cluster.stop().await;
}
