//! A node whose disk is slow leads nothing, and does not go back and forth.

use std::time::Duration;

use raft::{Config, GroupId, NodeId};

use crate::harness::{Cluster, eventually, nodes::preferred};

const GROUPS: u32 = 6;
const SLOW: Duration = Duration::from_millis(150);
/// What is promised.
const WITHIN: Duration = Duration::from_secs(10);

/// A group is given back almost at once, so that a test need not wait to see that it is not.
fn eager(config: &mut Config) {
    config.balance_after = Duration::from_millis(50);
}

/// How many groups a node leads.
fn led(cluster: &Cluster, node: NodeId) -> usize {
    let led = |group: &GroupId| cluster.group(node, *group).status().is_leader;
    groups().filter(led).count()
}

fn groups() -> impl Iterator<Item = GroupId> {
    (1..=GROUPS).map(GroupId)
}

async fn settled(cluster: &Cluster) {
    for group in groups() {
        eventually("each group is led by whom it prefers", || async {
            cluster.leader(group).await == preferred(group)
        })
        .await;
    }
}

#[tokio::test]
async fn a_node_whose_disk_is_slow_leads_nothing_within_ten_seconds_and_takes_nothing_back() {
    let cluster = Cluster::start(GROUPS, eager).await;
    settled(&cluster).await;
    let slow = NodeId(1);
    cluster.dial(slow).turn(SLOW);
    let begun = tokio::time::Instant::now();
    while led(&cluster, slow) > 0 {
        for group in groups() {
            cluster.write(group, "said meanwhile").await;
        }
        assert!(begun.elapsed() < WITHIN, "it still leads {}", led(&cluster, slow));
    }
    assert!(cluster.raft(slow).disk_is_slow());
    // It is quick again, and still nobody gives it anything: that may be a pause between two bad spells.
    cluster.dial(slow).turn(Duration::ZERO);
    let until = tokio::time::Instant::now() + Duration::from_secs(2);
    while tokio::time::Instant::now() < until {
        cluster.write(GroupId(1), "and afterwards").await;
        assert_eq!(led(&cluster, slow), 0);
        assert!(cluster.group(slow, GroupId(1)).status().voters.contains(&slow), "it votes");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn where_every_disk_is_slow_nobody_hands_over_and_the_cluster_serves() {
    let cluster = Cluster::start(GROUPS, eager).await;
    settled(&cluster).await;
    let all = cluster.running();
    all.iter().for_each(|node| cluster.dial(*node).turn(SLOW));
    eventually("everybody is slow", || async {
        cluster.write(GroupId(1), "said").await;
        all.iter().all(|node| cluster.raft(*node).disk_is_slow())
    })
    .await;
    // Whoever became slow first may have handed over to those who were not yet.
    for group in groups() {
        cluster.leader(group).await;
    }
    let terms = || groups().map(|group| cluster.group(all[0], group).status().term);
    let before: Vec<u64> = terms().collect();
    let until = tokio::time::Instant::now() + Duration::from_secs(1);
    while tokio::time::Instant::now() < until {
        cluster.write(GroupId(2), "said").await;
    }
    assert_eq!(terms().collect::<Vec<_>>(), before, "no leadership moved");
    cluster.stop().await;
}
