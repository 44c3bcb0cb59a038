//! Claims about restarts: what was acknowledged is there again, whatever the tables had lost.

use bytes::Bytes;
use raft::{GroupId, NodeId};

use crate::harness::{Cluster, eventually, nodes::ALL};

const GROUP: GroupId = GroupId(1);

#[tokio::test]
async fn a_restart_replays_what_the_tables_had_not_made_durable() {
    let mut cluster = Cluster::start(1, |config| config.threads = 1).await;
    for number in 0..100 {
        cluster.write(GROUP, &format!("{number}")).await;
    }
    let before = cluster.converged(&ALL, GROUP, 100).await;
    for node in ALL {
        cluster.kill(node).await;
        cluster.lose_power(node, node.0);
        let left = cluster.table(node, GROUP).list().len();
        assert!(left < 100, "the test must lose something, {left} are left");
    }
    for node in ALL {
        cluster.boot(node).await;
    }
    cluster.write(GROUP, "after").await;
    let list = cluster.converged(&ALL, GROUP, 101).await;
    assert_eq!(list[..100], before);
    assert_eq!(list[100], Bytes::from("after"));
    cluster.stop().await;
}

#[tokio::test]
async fn a_follower_that_was_away_catches_up_by_log() {
    let mut cluster = Cluster::start(1, |_| ()).await;
    cluster.write(GROUP, "before").await;
    cluster.leader(GROUP).await;
    let away = NodeId(3);
    cluster.kill(away).await;
    cluster.notice_lost(away);
    for number in 0..200 {
        cluster.write(GROUP, &format!("{number}")).await;
    }
    cluster.boot(away).await;
    cluster.notice_back(away);
    cluster.converged(&ALL, GROUP, 201).await;
    assert_eq!(cluster.wire.snapshots(), 0, "the log was there");
    cluster.stop().await;
}

#[tokio::test]
async fn a_leader_that_restarts_before_anyone_noticed_is_no_obstacle() {
    let mut cluster = Cluster::start(1, |_| ()).await;
    cluster.write(GROUP, "before").await;
    let leader = cluster.leader(GROUP).await;
    cluster.kill(leader).await;
    cluster.boot(leader).await;
    // The others still grant it their leases; it must not wait for them to run out.
    eventually("somebody leads", || async {
        cluster.group(leader, GROUP).status().leader.is_some()
    })
    .await;
    cluster.write(GROUP, "after").await;
    assert_eq!(cluster.converged(&ALL, GROUP, 2).await.len(), 2);
    cluster.stop().await;
}
