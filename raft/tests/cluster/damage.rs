//! Claims about damage at rest: of a journal while its node runs, and of tables whose log is whole. Nothing that was
//! acknowledged is lost, and no operator is needed.

use raft::{Config, GroupId, NodeId};
use store::Disk as _;

use crate::harness::{Cluster, eventually, nodes::ALL};

const GROUP: GroupId = GroupId(1);

/// Snapshots often and keeps almost nothing.
fn eager(config: &mut Config) {
    config.snapshot_entries = 50;
    config.keep_entries = 10;
    config.chunk_bytes = 64;
}

/// Numbers of the segments of a node's journal in which something is damaged.
fn damaged(cluster: &Cluster, node: NodeId) -> Vec<u32> {
    let (mut after, mut wrong) = (0, Vec::new());
    while let Some(mut scrub) = cluster.raft(node).scrub_journal(after) {
        after = scrub.segment();
        while scrub.read().expect("the disk reads") > 0 {}
        if scrub.check().is_err() {
            wrong.push(after);
        }
    }
    wrong
}

/// Turns one bit of what was written to a node's journal.
fn rot(cluster: &Cluster, node: NodeId, random: &mut u64) {
    let disk = cluster.disk(node);
    let names = disk.list().expect("a live disk");
    let names: Vec<_> = names.into_iter().filter(|name| name.ends_with(".segment")).collect();
    let mut draw = |bound: usize| {
        *random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*random >> 33) as usize % bound
    };
    let name = &names[draw(names.len())];
    let bytes = disk.contents(name).expect("there");
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(60, |last| last + 1);
    let (offset, bit) = (draw(used), draw(8));
    disk.damage(name, offset as u64, 1 << bit).expect("there");
}

#[tokio::test]
async fn a_damaged_record_is_left_behind_before_a_start_needs_it() {
    let mut cluster = Cluster::start(2, |_| {}).await;
    let (mut random, mut hit) = (7, 0);
    for round in 0..60 {
        for number in 0..5 {
            cluster.write(GROUP, &format!("{round}.{number}")).await;
            cluster.write(GroupId(2), &format!("{round}.{number}")).await;
        }
        let node = ALL[round % ALL.len()];
        rot(&cluster, node, &mut random);
        let wrong = damaged(&cluster, node);
        hit += wrong.len();
        for segment in wrong {
            cluster.raft(node).leave_segment(segment).await;
        }
        let whole = || async { damaged(&cluster, node).is_empty() };
        eventually("nothing needs what is damaged", whole).await;
        cluster.kill(node).await;
        cluster.lose_power(node, round as u64);
        cluster.notice_lost(node);
        cluster.boot(node).await;
        cluster.notice_back(node);
        cluster.converged(&ALL, GROUP, (round + 1) * 5).await;
    }
    assert!(hit >= 15, "some bits were of records: {hit}");
    cluster.converged(&ALL, GroupId(2), 300).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_replica_whose_tables_are_gone_is_given_them_by_another() {
    let mut cluster = Cluster::start(2, eager).await;
    for round in 0..6 {
        for number in 0..150 {
            cluster.write(GROUP, &format!("{round}.{number}")).await;
        }
        let node = ALL[round % ALL.len()];
        let enough = (round as u64 + 1) * 150 - 75;
        let purged = || async { cluster.purged(node, GROUP) >= enough };
        eventually("its log alone would not do", purged).await;
        cluster.kill(node).await;
        cluster.lose_power(node, round as u64);
        cluster.lose_tables(node);
        cluster.notice_lost(node);
        cluster.write(GROUP, &format!("{round} without it")).await;
        cluster.boot(node).await;
        cluster.notice_back(node);
        cluster.converged(&ALL, GROUP, (round + 1) * 151).await;
    }
    cluster.stop().await;
}

#[tokio::test]
async fn one_whole_copy_is_enough_for_two_that_lost_theirs() {
    let mut cluster = Cluster::start(1, eager).await;
    for number in 0..200 {
        cluster.write(GROUP, &format!("{number}")).await;
    }
    cluster.converged(&ALL, GROUP, 200).await;
    let purged = || async { ALL.iter().all(|node| cluster.purged(*node, GROUP) >= 100) };
    eventually("no log alone would do", purged).await;
    for node in ALL {
        cluster.kill(node).await;
    }
    cluster.lose_tables(NodeId(1));
    cluster.lose_tables(NodeId(2));
    // Nobody leads; what the third has applied is committed all the same.
    for node in [NodeId(3), NodeId(1), NodeId(2)] {
        cluster.boot(node).await;
    }
    cluster.write(GROUP, "after").await;
    cluster.converged(&ALL, GROUP, 201).await;
    cluster.stop().await;
}
