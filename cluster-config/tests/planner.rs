//! The planner on clusters of any shape: every slot has an owner, every shard its replicas, zones are respected, and nobody
//! carries or leads much more than others. Plans from anywhere end there, and move no more than they must.

use std::collections::{BTreeMap, BTreeSet};

use cluster_config::{
    Addresses, ClusterConfig, ClusterId, Command, Door, Founder, GroupId, Node, NodeId, NodeState,
    Outcome, PlanLimits, Refusal, SLOTS, Setting, Shard, TokenKey, apply, foresee, place, plan,
};
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

/// A cluster of these nodes, founded by those of them that take replicas.
fn founded(nodes: &BTreeMap<NodeId, Node>, shards: u32, replication: u32) -> ClusterConfig {
    let able = |node: &&Node| node.state.takes_replicas();
    let founders = nodes.iter().filter(|(_, node)| able(node)).map(|(id, node)| {
        let (addresses, zone) = (node.addresses.clone(), node.zone.clone());
        (*id, Founder { addresses, zone, weight: node.weight })
    });
    let command = Command::Bootstrap {
        cluster: ClusterId::parse("planned").expect("a legal name"),
        nodes: founders.collect(),
        shards,
        replication,
        token_key: TokenKey { id: 1, seed: [1; 32], created_at_ms: 0, retired: false },
        door: Door::default(),
    };
    let mut config = None;
    let applied = apply(&mut config, 0, "test", &command);
    assert!(applied.event.is_some(), "{:?}", applied.outcome);
    config.expect("it was just founded")
}

/// Plans and carries out until there is nothing to plan; looks at every plan on the way. Counts the votes that moved.
fn settle(config: ClusterConfig) -> (ClusterConfig, usize) {
    let foreseen = foresee(&config);
    let (mut this, mut moved, mut all) = (Some(config), 0, Vec::new());
    for _ in 0..400 {
        let config = this.as_ref().expect("founded");
        let commands = plan(config, PlanLimits::default());
        if commands.is_empty() {
            assert_eq!(all, foreseen, "it was foreseen");
            return (this.expect("founded"), moved);
        }
        all.extend(commands.clone());
        for command in &commands {
            let applied = apply(&mut this, 0, "planner", command);
            assert!(applied.event.is_some(), "{command:?}: {:?}", applied.outcome);
        }
        let config = this.as_ref().expect("founded");
        let mut under_way: BTreeMap<NodeId, usize> = BTreeMap::new();
        let arrived: Vec<(GroupId, Vec<NodeId>)> = config
            .groups()
            .filter_map(|group| config.moving(group).map(|to| (group, to.to_vec())))
            .collect();
        for (group, to) in &arrived {
            let from: BTreeSet<_> = config.replicas(*group).iter().collect();
            let to: BTreeSet<_> = to.iter().collect();
            from.symmetric_difference(&to).for_each(|id| *under_way.entry(**id).or_default() += 1);
            moved += to.difference(&from).count();
        }
        assert!(under_way.values().all(|moves| *moves <= 2), "{under_way:?}");
        for (group, replicas) in arrived {
            apply(&mut this, 0, "leader", &Command::FinishMove { group, replicas });
        }
    }
    panic!("it does not end: {:?}", this.map(|config| config.shards));
}

/// What must hold wherever the planner has nothing more to do.
fn check_settled(config: &ClusterConfig) -> Result<(), TestCaseError> {
    let ready = |id: &NodeId| config.nodes[id].state == NodeState::Ready;
    let zone = |id: &NodeId| config.nodes[id].zone.clone();
    let some_ready = config.nodes.keys().any(ready);
    for group in config.groups() {
        let voters = config.replicas(group);
        prop_assert!(voters.len() % 2 == 1 || !some_ready, "{}: {:?}", group, voters);
        let gone =
            |id: &&NodeId| matches!(config.nodes[id].state, NodeState::Leaving | NodeState::Lost);
        let free: Vec<_> =
            config.nodes.keys().filter(|id| ready(id) && !voters.contains(id)).collect();
        prop_assert!(
            free.is_empty() || !voters.iter().any(|id| gone(&id)),
            "{}: {:?} could take a vote of {:?}",
            group,
            free,
            voters
        );
        prop_assert!(
            ready(&voters[0]) || !voters.iter().any(ready),
            "{} should be led by somebody who is ready",
            group
        );
        let used: Vec<_> = voters.iter().filter_map(zone).collect();
        let distinct: BTreeSet<_> = used.iter().collect();
        let unused = |id: &&NodeId| zone(id).is_none_or(|zone| !used.contains(&zone));
        prop_assert!(
            distinct.len() == used.len() || !free.iter().any(unused),
            "{}: two of {:?} share a zone while another is free",
            group,
            voters
        );
    }
    Ok(())
}

proptest! {
    #[test]
    fn plans_end_where_they_should_whatever_becomes_of_the_nodes(
        before in any_nodes(), after in any_nodes(), shards in 1..24_u32, replication in 1..8_u32,
    ) {
        let mut config = founded(&before, shards, replication);
        // Other nodes came, those that were there are in any state.
        for (id, node) in &after {
            config.nodes.entry(*id).and_modify(|known| known.state = node.state).or_insert(node.clone());
        }
        let (settled, _) = settle(config);
        check_settled(&settled)?;
    }

    #[test]
    fn a_plan_is_good_for_one_epoch(before in any_nodes(), more in 1..4_u64, shards in 1..24_u32) {
        let mut config = founded(&before, shards, 3);
        for id in 0..more {
            config.nodes.insert(NodeId(200 + id), node(None, 1, NodeState::Ready));
        }
        let commands = plan(&config, PlanLimits::default());
        let mut later = Some(config);
        apply(&mut later, 0, "other", &Command::ChangeSetting(Setting::SendBurst(7)));
        // A node that votes nowhere may be forgotten at any epoch.
        let moves = |command: &Command| matches!(command, Command::MoveShard { .. });
        // Nobody proposes further than the first that is not accepted.
        if let Some(command) = commands.into_iter().find(moves) {
            let outcome = apply(&mut later, 0, "planner", &command).outcome;
            prop_assert!(matches!(outcome, Outcome::Refused(Refusal::StalePlan { .. })), "{:?}", outcome);
        }
    }

    #[test]
    fn only_what_must_move_does(count in 3..9_u64, shards in 1..40_u32) {
        let (config, moved) = settle(founded(&plain(count), shards, 3));
        prop_assert_eq!(moved, 0, "what was founded even stays");
        let mut grown = config;
        // Group 0 is another matter: it may be owed more voters.
        let voters = grown.voters.clone();
        grown.nodes.insert(NodeId(100), node(None, 1, NodeState::Ready));
        let (grown, moved) = settle(grown);
        let votes = 3 * shards as usize;
        let came = grown.voters.iter().filter(|id| !voters.contains(id)).count();
        prop_assert!(moved - came <= votes.div_ceil(count as usize + 1), "{} of {}", moved, votes);
        let share = carried(&grown.shards, NodeId(100));
        prop_assert_eq!(moved - came, share, "nobody but the newcomer was given votes");
        prop_assert!(spread(grown.nodes.keys().map(|id| carried(&grown.shards, *id))) <= 1);
        prop_assert!(spread(grown.nodes.keys().map(|id| led(&grown.shards, *id))) <= 1);
    }
}

#[test]
fn a_move_whose_target_is_lost_is_turned_and_a_good_one_is_left_alone() {
    let mut config = founded(&plain(3), 1, 3);
    config.nodes.insert(NodeId(4), node(None, 1, NodeState::Ready));
    config.nodes.insert(NodeId(5), node(None, 1, NodeState::Ready));
    config.nodes.get_mut(&NodeId(3)).expect("there").state = NodeState::Lost;
    config.shards.get_mut(&GroupId(1)).expect("there").moving =
        Some(vec![NodeId(1), NodeId(2), NodeId(4)]);
    let of_shard = |config: &ClusterConfig| -> Vec<Command> {
        let about = |command: &Command| matches!(command, Command::MoveShard { group, .. } if !group.is_cluster());
        plan(config, PlanLimits::default()).into_iter().filter(about).collect()
    };
    assert_eq!(of_shard(&config), [], "it is on its way to where it should be");
    config.nodes.get_mut(&NodeId(4)).expect("there").state = NodeState::Lost;
    let turned = of_shard(&config);
    let [Command::MoveShard { to, .. }] = turned.as_slice() else { panic!("{turned:?}") };
    assert_eq!(*to, [NodeId(1), NodeId(2), NodeId(5)]);
}

#[test]
fn a_frozen_shard_is_left_alone() {
    let mut config = founded(&plain(3), 1, 3);
    config.nodes.insert(NodeId(4), node(None, 1, NodeState::Ready));
    config.nodes.get_mut(&NodeId(1)).expect("there").state = NodeState::Leaving;
    config.shards.get_mut(&GroupId(1)).expect("there").frozen = true;
    let before = config.shards.clone();
    let (settled, _) = settle(config);
    assert_eq!(settled.shards, before);
    assert!(settled.nodes.contains_key(&NodeId(1)), "it votes, so it is not forgotten");
}
