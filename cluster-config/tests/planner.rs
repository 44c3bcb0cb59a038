//! The planner on clusters of any shape: every slot has an owner, every shard its replicas, zones are respected, and nobody
//! carries or leads much more than others.

use std::collections::{BTreeMap, BTreeSet};

use cluster_config::{Addresses, GroupId, Node, NodeId, NodeState, SLOTS, Shard, place};
use proptest::prelude::*;

fn node(zone: Option<String>, weight: u32, state: NodeState) -> Node {
    let at = || "h:1".to_owned();
    let addresses = Addresses { client: at(), peer: at(), operations: at() };
    Node { addresses, zone, weight, state, identity: None }
}

fn plain(count: u64) -> BTreeMap<NodeId, Node> {
    (1..=count).map(|id| (NodeId(id), node(None, 1, NodeState::Ready))).collect()
}

fn carried(plan: &BTreeMap<GroupId, Shard>, id: NodeId) -> usize {
    plan.values().filter(|shard| shard.replicas.contains(&id)).count()
}

fn led(plan: &BTreeMap<GroupId, Shard>, id: NodeId) -> usize {
    plan.values().filter(|shard| shard.replicas[0] == id).count()
}

fn spread(counts: impl Iterator<Item = usize>) -> usize {
    let counts: Vec<usize> = counts.collect();
    counts.iter().max().expect("nodes") - counts.iter().min().expect("nodes")
}

fn any_state() -> impl Strategy<Value = NodeState> {
    use NodeState::{Draining, Joining, Leaving, Lost, Ready};
    prop_oneof![4 => Just(Ready), 1 => Just(Joining), 1 => Just(Draining), 1 => Just(Leaving), 1 => Just(Lost)]
}

fn any_nodes() -> impl Strategy<Value = BTreeMap<NodeId, Node>> {
    let zone = proptest::option::of(proptest::sample::select(vec!["a", "b", "c", "d"]));
    let node = (zone, 1..5_u32, any_state())
        .prop_map(|(zone, weight, state)| node(zone.map(str::to_owned), weight, state));
    proptest::collection::btree_map((1..100_u64).prop_map(NodeId), node, 1..12)
        .prop_filter("somebody must carry", |nodes| {
            nodes.values().any(|node| node.state.takes_replicas())
        })
}

proptest! {
    #[test]
    fn every_slot_has_one_owner_and_every_shard_its_replicas(
        nodes in any_nodes(), shards in 1..80_u32, replication in 1..8_u32,
    ) {
        let plan = place(&nodes, shards, replication);
        prop_assert_eq!(plan.len(), shards as usize);
        let able = nodes.values().filter(|node| node.state.takes_replicas()).count();
        let mut next = 0;
        for (at, (group, shard)) in plan.iter().enumerate() {
            prop_assert_eq!(group.0 as usize, at + 1);
            prop_assert_eq!(shard.slots.start, next);
            prop_assert!(shard.slots.end > next);
            next = shard.slots.end;
            let distinct: BTreeSet<_> = shard.replicas.iter().collect();
            prop_assert_eq!(distinct.len(), shard.replicas.len());
            prop_assert_eq!(shard.replicas.len(), able.min(replication as usize));
            prop_assert!(shard.replicas.iter().all(|id| nodes[id].state.takes_replicas()));
        }
        prop_assert_eq!(next, SLOTS);
        prop_assert!(spread(plan.values().map(|s| (s.slots.end - s.slots.start) as usize)) <= 1);
    }

    #[test]
    fn equal_nodes_carry_and_lead_equally(
        count in 1..12_u64, shards in 1..100_u32, replication in 1..8_u32,
    ) {
        let nodes = plain(count);
        let plan = place(&nodes, shards, replication);
        prop_assert!(spread(nodes.keys().map(|id| carried(&plan, *id))) <= 1);
        prop_assert!(spread(nodes.keys().map(|id| led(&plan, *id))) <= 1);
    }

    #[test]
    fn no_zone_is_used_twice_while_another_is_free(
        nodes in any_nodes(), shards in 1..40_u32, replication in 1..6_u32,
    ) {
        let plan = place(&nodes, shards, replication);
        let able: Vec<_> = nodes.iter().filter(|(_, node)| node.state.takes_replicas()).collect();
        for shard in plan.values() {
            let zone_of = |id: &NodeId| nodes[id].zone.clone();
            let mut used: BTreeMap<String, usize> = BTreeMap::new();
            for zone in shard.replicas.iter().filter_map(zone_of) {
                *used.entry(zone).or_default() += 1;
            }
            let most = used.values().copied().max().unwrap_or(0);
            // A node that was passed over could have taken the place in the fullest zone.
            for (id, node) in able.iter().filter(|(id, _)| !shard.replicas.contains(id)) {
                let there = node.zone.as_ref().map_or(0, |zone| *used.get(zone).unwrap_or(&0));
                prop_assert!(most <= there + 1, "{id} was passed over for a fuller zone");
            }
        }
    }

    #[test]
    fn the_plan_depends_on_nothing_else(nodes in any_nodes(), shards in 1..40_u32) {
        prop_assert_eq!(place(&nodes, shards, 3), place(&nodes.clone(), shards, 3));
    }
}

#[test]
fn leaders_follow_weight() {
    let mut nodes = plain(3);
    nodes.get_mut(&NodeId(1)).expect("there").weight = 2;
    let plan = place(&nodes, 16, 3);
    assert_eq!(nodes.keys().map(|id| led(&plan, *id)).collect::<Vec<_>>(), [8, 4, 4]);
}

#[test]
fn the_three_nodes_of_a_demo_lead_a_third_each() {
    let plan = place(&plain(3), 16, 3);
    let led: Vec<usize> = (1..=3).map(|id| led(&plan, NodeId(id))).collect();
    assert_eq!(led.iter().sum::<usize>(), 16);
    assert!(led.iter().all(|count| (5..=6).contains(count)), "{led:?}");
}
