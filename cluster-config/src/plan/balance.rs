//! Evens out votes and leaderships between nodes that are ready, by moves that each make it more even.

use std::collections::{BTreeMap, BTreeSet};

use super::voters::{Votes, swapped};
use crate::place::even_out;
use crate::{ClusterConfig, GroupId, Node, NodeId, NodeState};

type Wanted = BTreeMap<GroupId, BTreeSet<NodeId>>;

/// Moves single votes from loaded nodes to idle ones, never into a more crowded zone. Each move makes the sorted list of
/// loads smaller, so that this ends; the bound is a net below.
pub(super) fn votes(config: &ClusterConfig, votes: &mut Votes<'_>, wanted: &mut Wanted) {
    let free = |group: &GroupId| {
        let shard = config.shards.get(group);
        shard.is_some_and(|shard| shard.moving.is_none() && !shard.is_fixed())
    };
    let free: Vec<GroupId> = wanted.keys().copied().filter(free).collect();
    for _ in 0..free.len() * config.nodes.len() {
        let Some((group, out, id)) = better(config, votes, wanted, &free) else { break };
        let to = swapped(&wanted[&group], out, id);
        votes.moved(&wanted[&group], &to);
        wanted.insert(group, to);
    }
}

/// One move that makes it more even: from the most loaded node to the least loaded that can take it.
fn better(
    config: &ClusterConfig,
    votes: &Votes<'_>,
    wanted: &Wanted,
    free: &[GroupId],
) -> Option<(GroupId, NodeId, NodeId)> {
    let mut ready: Vec<NodeId> = votes.ready().collect();
    ready.sort_by_key(|id| (votes.load(*id, 0), *id));
    for out in ready.iter().rev() {
        for id in ready.iter().filter(|id| votes.load(**id, 1) < votes.load(*out, 0)) {
            let can = |group: &&GroupId| {
                let now = &wanted[*group];
                now.contains(out)
                    && !now.contains(id)
                    && votes.crowding(&swapped(now, *out, *id)) <= votes.crowding(now)
            };
            // A group that already moves first, then one that the node does not lead.
            let moves = |group: &GroupId| {
                let now: BTreeSet<NodeId> = config.replicas(*group).iter().copied().collect();
                now != wanted[group]
            };
            let leads = |group: &GroupId| config.replicas(*group).first() == Some(out);
            let best = free.iter().filter(can).min_by_key(|g| (!moves(g), leads(g), **g));
            if let Some(group) = best {
                return Some((*group, *out, *id));
            }
        }
    }
    None
}

/// Puts first in each group who should lead it: whoever does, unless it should not or others lead much less.
pub(super) fn leaders(config: &ClusterConfig, wanted: &Wanted) -> BTreeMap<GroupId, Vec<NodeId>> {
    let ready: BTreeMap<NodeId, &Node> = config
        .nodes
        .iter()
        .filter(|(_, node)| node.state == NodeState::Ready)
        .map(|(id, node)| (*id, node))
        .collect();
    let mut groups = Vec::new();
    let mut able: Vec<BTreeSet<NodeId>> = Vec::new();
    let mut now = Vec::new();
    for (group, to) in wanted.iter().filter(|(group, _)| !group.is_cluster()) {
        let lead = config.voters_wished(*group).first().copied();
        let shard = &config.shards[group];
        let fixed = shard.moving.is_some() || shard.is_fixed();
        let can: BTreeSet<NodeId> = to
            .iter()
            .copied()
            .filter(|id| ready.contains_key(id) && (!fixed || lead == Some(*id)))
            .collect();
        if !can.is_empty() {
            groups.push(*group);
            now.push(lead.filter(|lead| can.contains(lead)));
            able.push(can);
        }
    }
    let leaders: BTreeMap<GroupId, NodeId> =
        groups.into_iter().zip(even_out(&ready, &able, &now)).collect();
    wanted
        .iter()
        .map(|(group, to)| {
            let before = config.voters_wished(*group);
            let lead = leaders.get(group).copied().or_else(|| lead_of_its_own(&ready, before, to));
            (*group, in_order(before, to, lead))
        })
        .collect()
}

/// Of group 0, and of a group of which nobody who is ready votes.
fn lead_of_its_own(
    ready: &BTreeMap<NodeId, &Node>,
    before: &[NodeId],
    to: &BTreeSet<NodeId>,
) -> Option<NodeId> {
    let now = before.first().filter(|lead| to.contains(lead)).copied();
    let able = |id: &NodeId| ready.contains_key(id);
    now.filter(able).or_else(|| to.iter().copied().find(able)).or(now)
}

/// The leader first, the others in the order that they had, newcomers last.
fn in_order(before: &[NodeId], to: &BTreeSet<NodeId>, lead: Option<NodeId>) -> Vec<NodeId> {
    let old = before.iter().copied().filter(|id| to.contains(id));
    let new = to.iter().copied().filter(|id| !before.contains(id));
    let rest: Vec<NodeId> = old.chain(new).filter(|id| Some(*id) != lead).collect();
    lead.into_iter().chain(rest).collect()
}
