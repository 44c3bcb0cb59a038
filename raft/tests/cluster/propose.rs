//! Claims about proposing.

use bytes::Bytes;
use raft::{Certainty, GroupId, NodeId, ProposeError, Retry};

use crate::harness::{Cluster, eventually, nodes::ALL, table::place};

const GROUP: GroupId = GroupId(1);

fn text(number: usize) -> Bytes {
    format!("command {number}").into()
}

async fn commands_reach_all_nodes_in_order(threads: usize) {
    let cluster = Cluster::start(
        1,
        match threads {
            0 => |_| (),
            _ => |config| config.threads = 1,
        },
    )
    .await;
    for number in 0..50 {
        assert_eq!(cluster.write(GROUP, &format!("command {number}")).await, place(number));
    }
    let list = cluster.converged(&ALL, GROUP, 50).await;
    assert_eq!(list, (0..50).map(text).collect::<Vec<_>>());
    cluster.stop().await;
}

#[tokio::test]
async fn commands_reach_all_nodes_in_order_on_the_callers_runtime() {
    commands_reach_all_nodes_in_order(0).await;
}

#[tokio::test]
async fn commands_reach_all_nodes_in_order_on_own_threads() {
    commands_reach_all_nodes_in_order(1).await;
}

#[tokio::test]
async fn a_new_group_is_led_by_its_preferred_node() {
    let cluster = Cluster::start(3, |_| ()).await;
    for number in 1..=3 {
        let leader = cluster.leader(GroupId(number)).await;
        assert_eq!(leader, NodeId(u64::from(number)));
    }
    cluster.stop().await;
}

#[tokio::test]
async fn submit_order_is_apply_order_and_waiting_commands_share_entries() {
    let cluster = Cluster::start(1, |config| config.threads = 1).await;
    cluster.write(GROUP, "first").await;
    let group = cluster.group(cluster.leader(GROUP).await, GROUP);
    let before = group.status().last_index.expect("one entry at least");
    let pending: Vec<_> =
        (0..1000).map(|number| group.submit(text(number)).expect("room for them")).collect();
    for (number, pending) in pending.into_iter().enumerate() {
        assert_eq!(pending.await.expect("applied"), place(number + 1));
    }
    let entries = group.status().last_index.expect("more now") - before;
    assert!(entries < 500, "1000 commands took {entries} entries");
    let list = cluster.converged(&ALL, GROUP, 1001).await;
    assert_eq!(list[1..], (0..1000).map(text).collect::<Vec<_>>());
    cluster.stop().await;
}

#[tokio::test]
async fn a_follower_names_the_leader_and_writes_nothing() {
    let cluster = Cluster::start(1, |_| ()).await;
    cluster.write(GROUP, "only").await;
    let leader = cluster.leader(GROUP).await;
    let follower = ALL.into_iter().find(|id| *id != leader).expect("two of them");
    let error = cluster.group(follower, GROUP).propose(text(0)).await.expect_err("refused");
    assert_eq!(error, ProposeError::NotLeader { leader: Some(leader) });
    assert_eq!(error.retry(), Retry::Elsewhere(leader));
    assert_eq!(error.certainty(), Certainty::Definite);
    assert_eq!(cluster.converged(&ALL, GROUP, 1).await.len(), 1);
    cluster.stop().await;
}

#[tokio::test]
async fn too_much_is_refused_and_room_comes_back() {
    let cluster = Cluster::start(1, |config| config.propose_commands_max = 8).await;
    cluster.write(GROUP, "first").await;
    let group = cluster.group(cluster.leader(GROUP).await, GROUP);
    // No await between: nothing can be applied meanwhile on a single-threaded runtime.
    let accepted: Vec<_> = (0..8).map(|number| group.submit(text(number))).collect();
    let refused = group.submit(text(8)).expect_err("the line is full");
    assert!(matches!(refused, ProposeError::Overloaded { .. }));
    for pending in accepted {
        pending.expect("there was room").await.expect("applied");
    }
    group.propose(text(9)).await.expect("there is room again");
    cluster.stop().await;
}

#[tokio::test]
async fn a_machine_that_fails_ends_the_process_with_its_reason() {
    let cluster = Cluster::start(1, |_| ()).await;
    cluster.write(GROUP, "fine").await;
    let leader = cluster.leader(GROUP).await;
    *cluster.table(leader, GROUP).fail_at.lock().expect("not poisoned") = Some("poison".into());
    let group = cluster.group(leader, GROUP);
    let outcome = group.propose("poison".into()).await;
    assert_eq!(outcome, Err(ProposeError::Unknown), "it was committed, but has no outcome here");
    let fatal = cluster.raft(leader).stopped().await;
    assert!(fatal.reason().contains("asked to fail"), "{fatal}");
    eventually("the group says that it stopped", || async {
        group.submit("late".into()).err() == Some(ProposeError::Stopped)
    })
    .await;
    cluster.stop().await;
}
