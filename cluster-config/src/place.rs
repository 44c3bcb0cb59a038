//! Who carries which shard when a cluster is founded. A pure function of nodes and numbers, the same on every node.
//! It plans from nothing; how to get from there to where things should be later is planned in `plan`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{GroupId, Node, NodeId, SLOTS, Shard};

/// Spreads `shards` shards with `replication` replicas each over the nodes that take replicas.
///
/// Zones come first: no two replicas share a zone while another zone is free. Then balance: replicas are spread by weight,
/// and preferred leaders as evenly as the replicas allow. With fewer nodes than `replication`, all of them carry everything.
///
/// # Panics
/// When no node takes replicas, or `shards` is 0 or above [`SLOTS`]: the machine refuses such commands before it plans.
pub fn place(
    nodes: &BTreeMap<NodeId, Node>,
    shards: u32,
    replication: u32,
) -> BTreeMap<GroupId, Shard> {
    assert!(shards >= 1 && shards <= u32::from(SLOTS), "checked by the machine");
    let nodes: BTreeMap<NodeId, &Node> = nodes
        .iter()
        .filter(|(_, node)| node.state.takes_replicas())
        .map(|(id, n)| (*id, n))
        .collect();
    assert!(!nodes.is_empty(), "somebody must carry the shards");
    let wanted = (replication.max(1) as usize).min(nodes.len());

    let mut carried: BTreeMap<NodeId, u32> = nodes.keys().map(|id| (*id, 0)).collect();
    let mut replicas: Vec<BTreeSet<NodeId>> = Vec::with_capacity(shards as usize);
    for _ in 0..shards {
        let set = choose(&nodes, &carried, wanted);
        for id in &set {
            *carried.get_mut(id).expect("chosen among these nodes") += 1;
        }
        replicas.push(set);
    }
    let leaders = leaders(&nodes, &replicas);
    let plan = replicas.into_iter().zip(leaders).enumerate().map(|(place, (set, leader))| {
        let place = u32::try_from(place).expect("there are at most SLOTS shards");
        let others = set.into_iter().filter(|id| *id != leader);
        let replicas = rotate(std::iter::once(leader).chain(others).collect(), place);
        (GroupId(place + 1), Shard::new(slots(place, shards), replicas))
    });
    plan.collect()
}

/// The share of shard `place` (from 0) of `shards`: sizes differ by one slot at most.
fn slots(place: u32, shards: u32) -> std::ops::Range<u16> {
    let edge = |at: u32| {
        u16::try_from(u64::from(SLOTS) * u64::from(at) / u64::from(shards))
            .expect("an edge is at most SLOTS")
    };
    edge(place)..edge(place + 1)
}

/// Keeps the leader first and turns the rest, so that the second choice is spread as well.
fn rotate(mut replicas: Vec<NodeId>, by: u32) -> Vec<NodeId> {
    if replicas.len() > 2 {
        let turn = by as usize / replicas.len() % (replicas.len() - 1);
        replicas[1..].rotate_left(turn);
    }
    replicas
}

/// `wanted` nodes for one more shard: rare zones first, then the least carried for its weight, then the lowest id.
fn choose(
    nodes: &BTreeMap<NodeId, &Node>,
    carried: &BTreeMap<NodeId, u32>,
    wanted: usize,
) -> BTreeSet<NodeId> {
    let mut chosen = BTreeSet::new();
    let mut in_zone: BTreeMap<&str, u32> = BTreeMap::new();
    while chosen.len() < wanted {
        let free = nodes.iter().filter(|(id, _)| !chosen.contains(*id));
        let best = free.min_by_key(|(id, node)| {
            // A node without a zone fails alone.
            let neighbours =
                node.zone.as_deref().map_or(0, |zone| *in_zone.get(zone).unwrap_or(&0));
            (neighbours, load(carried[*id], node), **id)
        });
        let (id, node) = best.expect("wanted is at most the number of nodes");
        chosen.insert(*id);
        if let Some(zone) = node.zone.as_deref() {
            *in_zone.entry(zone).or_default() += 1;
        }
    }
    chosen
}

/// What one more would make of this node, relative to its weight, in millionths.
fn load(count: u32, node: &Node) -> u64 {
    (u64::from(count) + 1) * 1_000_000 / u64::from(node.weight.max(1))
}

/// One leader for each shard. First the least burdened replica; then leaderships are handed along chains of shards
/// until no chain leads from a node to one that has two fewer (for its weight).
fn leaders(nodes: &BTreeMap<NodeId, &Node>, replicas: &[BTreeSet<NodeId>]) -> Vec<NodeId> {
    even_out(nodes, replicas, &vec![None; replicas.len()])
}

/// The same, where some sets have a leader already: it stays unless a chain leads from it.
pub(crate) fn even_out(
    nodes: &BTreeMap<NodeId, &Node>,
    replicas: &[BTreeSet<NodeId>],
    now: &[Option<NodeId>],
) -> Vec<NodeId> {
    let mut leads: BTreeMap<NodeId, u32> = nodes.keys().map(|id| (*id, 0)).collect();
    for leader in now.iter().flatten() {
        *leads.get_mut(leader).expect("leaders are among the nodes") += 1;
    }
    let mut leaders = Vec::with_capacity(replicas.len());
    for (set, now) in replicas.iter().zip(now) {
        let least = set.iter().min_by_key(|id| (load(leads[*id], nodes[*id]), **id));
        let leader = now.unwrap_or_else(|| *least.expect("a replica set is never empty"));
        if now.is_none() {
            *leads.get_mut(&leader).expect("replicas are among the nodes") += 1;
        }
        leaders.push(leader);
    }
    // Each hand-over lowers the sum of squares of the loads, so that this ends; the bound is a net below.
    for _ in 0..replicas.len() * nodes.len() {
        if !hand_over(nodes, replicas, &mut leaders, &mut leads) {
            break;
        }
    }
    leaders
}

/// Finds one chain that evens out leaderships and carries it out. False when there is none.
fn hand_over(
    nodes: &BTreeMap<NodeId, &Node>,
    replicas: &[BTreeSet<NodeId>],
    leaders: &mut [NodeId],
    leads: &mut BTreeMap<NodeId, u32>,
) -> bool {
    let mut by_load: Vec<NodeId> = nodes.keys().copied().filter(|id| leads[id] > 0).collect();
    by_load.sort_by_key(|id| (std::cmp::Reverse(load(leads[id] - 1, nodes[id])), *id));
    for from in by_load {
        // Breadth first: node -> (the shard it was reached by, the node that leads that shard now).
        let mut reached: BTreeMap<NodeId, Option<(usize, NodeId)>> = BTreeMap::from([(from, None)]);
        let mut queue = VecDeque::from([from]);
        while let Some(at) = queue.pop_front() {
            if load(leads[&at], nodes[&at]) < load(leads[&from] - 1, nodes[&from]) {
                let mut end = at;
                while let Some((shard, before)) = reached[&end] {
                    leaders[shard] = end;
                    end = before;
                }
                *leads.get_mut(&from).expect("it leads") -= 1;
                *leads.get_mut(&at).expect("it is a node") += 1;
                return true;
            }
            for (shard, set) in replicas.iter().enumerate().filter(|(s, _)| leaders[*s] == at) {
                for next in set {
                    if !reached.contains_key(next) {
                        reached.insert(*next, Some((shard, at)));
                        queue.push_back(*next);
                    }
                }
            }
        }
    }
    false
}
