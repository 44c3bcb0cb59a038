//! Claims about snapshots and purges.

use bytes::Bytes;
use raft::{Config, GroupId, NodeId};

use crate::harness::{Cluster, eventually, nodes::ALL};

const GROUP: GroupId = GroupId(1);

/// Snapshots often and keeps almost nothing, in small chunks.
fn eager(config: &mut Config) {
    config.snapshot_entries = 50;
    config.keep_entries = 10;
    config.chunk_bytes = 64;
}

#[tokio::test]
async fn a_follower_behind_the_purged_log_catches_up_by_snapshot() {
    let mut cluster = Cluster::start(1, eager).await;
    cluster.write(GROUP, "before").await;
    cluster.leader(GROUP).await;
    let away = NodeId(3);
    cluster.kill(away).await;
    cluster.notice_lost(away);
    for number in 0..300 {
        cluster.write(GROUP, &format!("{number}")).await;
    }
    let leader = cluster.leader(GROUP).await;
    // Until then the log would serve.
    eventually("the log is purged", || async { cluster.purged(leader, GROUP) >= 200 }).await;
    cluster.boot(away).await;
    cluster.notice_back(away);
    cluster.converged(&ALL, GROUP, 301).await;
    assert!(cluster.wire.snapshots() > 0, "it must have needed one");
    // What was installed is durable, and the log goes on from there.
    cluster.write(GROUP, "after").await;
    cluster.kill(away).await;
    cluster.lose_power(away, 7);
    cluster.boot(away).await;
    let list = cluster.converged(&ALL, GROUP, 302).await;
    assert_eq!(list[301], Bytes::from("after"));
    cluster.stop().await;
}

#[tokio::test]
async fn nothing_is_purged_that_the_machine_could_still_lose() {
    let mut cluster = Cluster::start(1, eager).await;
    for round in 0..4 {
        for number in 0..120 {
            cluster.write(GROUP, &format!("{round}.{number}")).await;
        }
        // A snapshot may be short of 50 entries, a purge of 20 more.
        let enough = (round as u64 + 1) * 120 - 75;
        eventually("all logs are purged", || async {
            ALL.iter().all(|node| cluster.purged(*node, GROUP) >= enough)
        })
        .await;
        // If the log had been purged beyond the flush, this node could not open again.
        for node in ALL {
            cluster.kill(node).await;
            cluster.lose_power(node, node.0);
            cluster.boot(node).await;
        }
        cluster.converged(&ALL, GROUP, (round + 1) * 120).await;
    }
    cluster.stop().await;
}
