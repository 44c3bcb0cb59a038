//! Claims about a group that was split off another: it begins with what the split left on each replica.

use bytes::Bytes;
use raft::{Error, GroupId, NodeId, Position};

use crate::harness::{Cluster, nodes::ALL, table::State};

const OLD: GroupId = GroupId(1);
const NEW: GroupId = GroupId(2);

/// What a split behind everything that was written so far leaves, as any replica finds it.
async fn left_behind(cluster: &Cluster, node: NodeId) -> State {
    let (state, _) = cluster.group(node, OLD).view().await.expect("it runs");
    let at = state.position.expect("something was applied").index;
    let applied = raft::split_state(&state.membership, at).expect("these are members");
    State { applied, list: cluster.table(node, OLD).list() }
}

async fn cluster() -> (Cluster, State) {
    let cluster = Cluster::start(1, |_| {}).await;
    for text in ["from", "before"] {
        cluster.write(OLD, text).await;
    }
    cluster.converged(&ALL, OLD, 2).await;
    let left = left_behind(&cluster, ALL[0]).await;
    (cluster, left)
}

#[tokio::test]
async fn it_goes_on_from_what_was_left_and_who_missed_it_gets_the_state() {
    let (mut cluster, left) = cluster().await;
    let [one, other, late] = ALL;
    for node in [one, other] {
        assert_eq!(left_behind(&cluster, node).await.applied, left.applied, "the same everywhere");
        cluster.leave_split(node, NEW, left.clone());
        cluster.start_split(node, NEW).await.expect("it begins");
    }
    // The third does not know the group yet, and is no obstacle.
    let leader = cluster.leader_among(&[one, other], NEW).await;
    let written = cluster.group(leader, NEW).propose(Bytes::from_static(b"after")).await;
    written.expect("two of three have begun");
    cluster.converged(&[one, other], NEW, 3).await;
    cluster.write(OLD, "beside").await;
    assert_eq!(cluster.converged(&ALL, OLD, 3).await[2], "beside");

    cluster.start_split(late, NEW).await.expect("it begins with nothing");
    let list = cluster.converged(&ALL, NEW, 3).await;
    assert_eq!(list, ["from", "before", "after"].map(|text| Bytes::from_static(text.as_bytes())));
    assert!(cluster.wire.snapshots() > 0, "there is no other way to the state");
    let status = cluster.group(cluster.leader(NEW).await, NEW).status();
    assert_eq!(status.voters, ALL.into());
    cluster.stop().await;
}

#[tokio::test]
async fn a_crash_at_any_step_of_its_beginning_loses_nothing() {
    let (mut cluster, left) = cluster().await;
    // Before the group starts: what was left is there, its log is not.
    for node in ALL {
        cluster.leave_split(node, NEW, left.clone());
    }
    for node in ALL {
        cluster.kill(node).await;
    }
    for node in ALL {
        cluster.boot(node).await;
    }
    cluster.write(NEW, "after").await;
    let list = cluster.converged(&ALL, NEW, 3).await;
    // Behind its first entries, with the power gone: the start had made durable what was left.
    for node in ALL {
        cluster.kill(node).await;
        cluster.lose_power(node, node.0);
        cluster.boot(node).await;
    }
    assert_eq!(cluster.converged(&ALL, NEW, 3).await, list);
    cluster.write(NEW, "again").await;
    cluster.converged(&ALL, NEW, 4).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_state_beyond_its_beginning_without_a_log_is_damage() {
    let (mut cluster, mut left) = cluster().await;
    let at = left.applied.position.expect("somewhere").index;
    left.applied.position = Some(Position { term: 1, node: 1, index: at + 1 });
    cluster.leave_split(ALL[0], NEW, left);
    let started = cluster.start_split(ALL[0], NEW).await;
    assert!(matches!(started, Err(Error::Fatal(_))), "its log is gone");
    cluster.stop().await;
}
