//! Whole nodes over a network in memory: replicas are compared while clients write, shards are split and nodes go; and a
//! row that is altered beneath one of them is found.

use std::time::Duration;

use bytes::Bytes;
use proto::keys::{self, Key};
use store::tables::{Batch, KeyRange, Tables as _};

use super::*;
use crate::membership::tests::Nodes;

/// Compared all the time, and read by the task itself: there are few rows.
const HURRY: DigestTempo = DigestTempo {
    entries: 20,
    rest: Duration::from_millis(500),
    latest: Duration::from_secs(2),
    look: Duration::from_millis(200),
    reached_within: Duration::from_secs(2),
    summed_within: Duration::from_secs(10),
    bytes_per_second: u64::MAX,
    aside: false,
};

const ALL: [u64; 3] = [1, 2, 3];

/// Waits until every group was compared again, about: as often as there are groups, and once more.
async fn compared(nodes: &Nodes) {
    let count = |nodes: &Nodes| nodes.views.values().map(|view| view.found_same()).sum::<u64>();
    let enough = count(nodes) + 12;
    nodes.eventually("replicas are compared", |nodes| count(nodes) >= enough).await;
}

fn diverged(nodes: &Nodes) -> Vec<Vec<String>> {
    nodes.views.values().map(|view| view.divergences()).collect()
}

#[tokio::test(start_paused = true)]
async fn replicas_are_the_same_under_load_and_when_shards_are_split() {
    let nodes = Nodes::found_with(3, HURRY).await;
    let writing = nodes.write(&ALL, "during");
    compared(&nodes).await;
    for number in 0..2 {
        let split = loop {
            let asked = nodes.views.values().find_map(|view| view.halve(number));
            if let Some(Some(decided)) = match asked {
                Some(asked) => Some(asked.await),
                None => None,
            } {
                break decided;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        assert!(!matches!(split, cluster_config::Outcome::Refused(_)), "{split:?}");
        let shards = 5 + number as usize;
        nodes
            .eventually("it is split", |nodes| {
                let carries = |view: &crate::hosted::HostView| view.groups().len() == shards + 1;
                nodes.map().shards.len() == shards && nodes.views.values().all(carries)
            })
            .await;
    }
    let users = writing.await.expect("no panic");
    assert_eq!(users.len(), 300);
    compared(&nodes).await;
    assert!(diverged(&nodes).iter().all(Vec::is_empty), "{:?}", diverged(&nodes));
}

#[tokio::test(start_paused = true)]
async fn a_row_that_is_altered_beneath_one_replica_is_named_with_its_node_and_slot_until_it_is_mended()
 {
    let nodes = Nodes::found_with(3, HURRY).await;
    let users = nodes.write(&ALL, "before").await.expect("no panic");
    compared(&nodes).await;
    assert!(diverged(&nodes).iter().all(Vec::is_empty), "{:?}", diverged(&nodes));

    let user = &users[7];
    let slot = user.slot();
    let groups = nodes.map().shards;
    let (group, _) = groups.iter().find(|(_, shard)| shard.slots.contains(&slot)).expect("owned");
    let beneath = &nodes.tables[&2];
    let of_slot = keys::slot_range(slot, slot + 1);
    let mut rows = beneath.view(KeyRange::new(of_slot.start, of_slot.end)).expect("readable");
    let (key, before) = loop {
        let row = rows.next().expect("readable").expect("it is there");
        if matches!(keys::parse(&row.0), Ok(Key::User(found)) if found == *user) {
            break row;
        }
    };
    let alter = |value: Bytes| {
        let mut batch = Batch::new();
        batch.put(key.clone(), value);
        beneath.write(batch).expect("memory takes it");
    };
    alter(Bytes::from_static(b"something else"));

    let named = |nodes: &Nodes| diverged(nodes).iter().all(|told| told.len() == 1);
    nodes.eventually("every node knows of it", named).await;
    let told = diverged(&nodes);
    let node = "the state of node 2 is not that of nodes 1, 3";
    let place = format!("they differ in slots {slot}");
    for told in &told {
        let of_group = format!("of group {group} ");
        let names = |what: &str| assert!(told[0].contains(what), "{what:?} is not in {told:?}");
        [&of_group, node, &place].into_iter().for_each(names);
        assert!(told[0].ends_with(&place), "and nowhere else: {told:?}");
    }
    // Everything else goes on being the same.
    compared(&nodes).await;
    assert!(diverged(&nodes).iter().all(|told| told.len() == 1), "{:?}", diverged(&nodes));

    alter(before);
    let same = |nodes: &Nodes| diverged(nodes).iter().all(Vec::is_empty);
    nodes.eventually("nobody differs any more", same).await;
}
