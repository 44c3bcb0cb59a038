//! Claims about linearizable reads.

use std::time::Duration;

use bytes::Bytes;
use raft::{GroupId, ReadError};

use crate::harness::{Cluster, eventually, nodes::ALL};

const GROUP: GroupId = GroupId(1);

#[tokio::test]
async fn a_read_on_any_node_sees_what_was_acknowledged_before_it() {
    let cluster = Cluster::start(1, |config| config.threads = 1).await;
    for number in 0..20 {
        cluster.write(GROUP, &format!("{number}")).await;
        for node in ALL {
            cluster.group(node, GROUP).linearize().await.expect("a leader confirms");
            assert!(cluster.table(node, GROUP).list().len() > number, "stale on {node}");
        }
    }
    cluster.stop().await;
}

#[tokio::test]
async fn a_read_on_a_cut_off_leader_does_not_return_old_state() {
    let cluster = Cluster::start(1, |_| ()).await;
    cluster.write(GROUP, "before").await;
    let old = cluster.leader(GROUP).await;
    let others: Vec<_> = ALL.into_iter().filter(|other| *other != old).collect();
    cluster.isolate(old);
    // The old leader's own detector has noticed nothing: only the quorum can tell it.
    others.iter().for_each(|other| cluster.believe(*other, old, false));
    let leader = cluster.leader_among(&others, GROUP).await;
    cluster.group(leader, GROUP).propose("after".into()).await.expect("the majority goes on");
    assert!(cluster.group(old, GROUP).status().is_leader, "it still believes to lead");
    let read = cluster.group(old, GROUP).linearize().await;
    assert_eq!(read, Err(ReadError::Unavailable));

    cluster.wire.heal();
    others.iter().for_each(|other| cluster.believe(*other, old, true));
    eventually("reads work again", || async {
        cluster.group(old, GROUP).linearize().await.is_ok()
    })
    .await;
    assert_eq!(cluster.table(old, GROUP).list().last(), Some(&Bytes::from("after")));
    cluster.stop().await;
}

#[tokio::test]
async fn readers_at_the_same_time_share_rounds() {
    let cluster = Cluster::start(1, |_| ()).await;
    cluster.write(GROUP, "before").await;
    let leader = cluster.leader(GROUP).await;
    cluster.wire.delay(Duration::from_millis(5));
    let before = cluster.wire.calls();
    let group = cluster.group(leader, GROUP);
    let reads = (0..1000).map(|_| group.linearize());
    for read in futures::future::join_all(reads).await {
        read.expect("confirmed");
    }
    let calls = cluster.wire.calls() - before;
    assert!(calls < 100, "1000 readers cost {calls} calls");
    cluster.stop().await;
}
