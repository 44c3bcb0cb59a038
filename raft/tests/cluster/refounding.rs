//! Claims about groups that begin with a state.

use bytes::Bytes;
use raft::{GroupId, NodeId};

use crate::harness::{
    Cluster, eventually,
    nodes::{ALL, SMALL_SEGMENT},
};

const GROUP: GroupId = GroupId(1);

fn restored() -> Vec<Bytes> {
    vec![Bytes::from_static(b"from"), Bytes::from_static(b"before")]
}

#[tokio::test]
async fn a_group_goes_on_from_the_state_that_its_founders_were_given() {
    let mut cluster = Cluster::prepare(&ALL, 1, SMALL_SEGMENT, |_| {});
    for node in ALL {
        cluster.refound(node, GROUP, 700, restored());
    }
    for node in ALL {
        cluster.boot(node).await;
    }
    cluster.write(GROUP, "after").await;
    let list = cluster.converged(&ALL, GROUP, 3).await;
    assert_eq!(list, [restored(), vec![Bytes::from_static(b"after")]].concat());
    let leader = cluster.leader(GROUP).await;
    let status = cluster.group(leader, GROUP).status();
    assert!(status.term >= 1 && status.applied_index > Some(700), "{status:?}");
    assert_eq!(status.voters, ALL.into());
    for node in ALL {
        cluster.kill(node).await;
        cluster.lose_power(node, node.0);
        cluster.boot(node).await;
    }
    assert_eq!(cluster.converged(&ALL, GROUP, 3).await, list);
    cluster.stop().await;
}

#[tokio::test]
async fn who_begins_empty_beside_them_gets_the_state_and_not_a_log_that_lacks_it() {
    let mut cluster = Cluster::prepare(&ALL, 1, SMALL_SEGMENT, |_| {});
    let [one, other, empty] = ALL;
    for node in [one, other] {
        cluster.refound(node, GROUP, 700, restored());
    }
    for node in ALL {
        cluster.boot(node).await;
    }
    cluster.write(GROUP, "after").await;
    cluster.converged(&ALL, GROUP, 3).await;
    assert!(cluster.wire.snapshots() > 0, "there is no other way to the state");
    assert_ne!(cluster.leader(GROUP).await, empty);
    cluster.stop().await;
}

#[tokio::test]
async fn a_view_shows_the_state_where_it_says_that_it_stands() {
    let cluster = Cluster::start(1, |_| {}).await;
    for number in 0..5 {
        cluster.write(GROUP, &format!("{number}")).await;
    }
    cluster.converged(&ALL, GROUP, 5).await;
    let group = cluster.group(NodeId(2), GROUP);
    let (state, mut rows) = group.view().await.expect("it runs");
    assert_eq!(state.position.map(|at| at.index), group.status().applied_index);
    cluster.write(GROUP, "later").await;
    eventually("the later one is here", || async {
        cluster.table(NodeId(2), GROUP).list().len() == 6
    })
    .await;
    let mut seen = 0;
    while let Some(some) = rows.next_chunk(1).expect("readable") {
        seen += some.len();
    }
    assert_eq!(seen, 5, "a view does not move");
    cluster.stop().await;
}
