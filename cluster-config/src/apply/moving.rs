//! How a group's voters come to be others. The map is the wish: it says where a group is going, its leader goes there and
//! says when it has arrived. Group 0 moves like any other group.

use std::collections::BTreeSet;

use super::{out_of_bounds, within};
use crate::config::{CLUSTER_VOTERS_MAX, REPLICATION_MAX};
use crate::{ClusterConfig, Event, GroupId, NodeId, NodeState, Refusal};

type Decided = Result<Option<Event>, Refusal>;

fn set(nodes: &[NodeId]) -> BTreeSet<NodeId> {
    nodes.iter().copied().collect()
}

/// Sends a group's voters on their way, or only says which of them should lead.
pub(super) fn move_shard(
    config: &mut ClusterConfig,
    group: GroupId,
    to: &[NodeId],
    if_epoch: u64,
) -> Decided {
    if config.epoch != if_epoch {
        return Err(Refusal::StalePlan { planned_at: if_epoch, epoch: config.epoch });
    }
    check_voters(config, group, to)?;
    if config.voters_wished(group) == to {
        return Ok(None);
    }
    let lead = *to.first().expect("checked: voters are an odd number");
    let moving = config.moving_mut(group);
    if moving.is_none() && set(config.replicas(group)) == set(to) {
        *config.replicas_mut(group) = to.to_vec();
        return Ok(Some(Event::LeaderPreferred { group, node: lead }));
    }
    // The new group takes the voters as they are.
    if config.shards.get(&group).is_some_and(|shard| shard.splitting.is_some()) {
        return Err(Refusal::StillSplits(group));
    }
    *config.moving_mut(group) = Some(to.to_vec());
    Ok(Some(Event::MoveBegun { group, to: to.to_vec() }))
}

fn check_voters(config: &ClusterConfig, group: GroupId, to: &[NodeId]) -> Result<(), Refusal> {
    let now = config.replicas(group);
    if now.is_empty() {
        return Err(Refusal::NoSuchGroup(group));
    }
    let most = if group.is_cluster() { CLUSTER_VOTERS_MAX } else { REPLICATION_MAX };
    within(to.len() <= most as usize && set(to).len() == to.len(), "voters")?;
    for id in to {
        let node = config.nodes.get(id).ok_or(Refusal::NoSuchNode(*id))?;
        if !now.contains(id) && !node.state.takes_replicas() {
            return Err(Refusal::TakesNoReplicas { node: *id, state: node.state });
        }
    }
    // Last, so that whoever asks hears what is wrong with the nodes first.
    if to.len().is_multiple_of(2) {
        return Err(Refusal::EvenVoters);
    }
    Ok(())
}

/// The group's leader says that these vote now. `None`: that was known.
pub(super) fn finish_move(
    config: &mut ClusterConfig,
    group: GroupId,
    replicas: &[NodeId],
) -> Decided {
    if config.replicas(group).is_empty() {
        return Err(Refusal::NoSuchGroup(group));
    }
    match config.moving(group).map(<[NodeId]>::to_vec) {
        Some(moving) if set(&moving) == set(replicas) => {
            *config.moving_mut(group) = None;
            *config.replicas_mut(group) = moving;
            if let Some(shard) = config.shards.get_mut(&group) {
                shard.moves += 1;
            }
            Ok(Some(Event::MoveFinished { group }))
        }
        None if set(config.replicas(group)) == set(replicas) => Ok(None),
        // Meanwhile the group was sent elsewhere.
        _ => Err(Refusal::NotMoving(group)),
    }
}

/// The voters stay, or become again, who they were.
pub(super) fn cancel_move(config: &mut ClusterConfig, group: GroupId) -> Decided {
    if config.replicas(group).is_empty() {
        return Err(Refusal::NoSuchGroup(group));
    }
    let cancelled = config.moving_mut(group).take();
    Ok(cancelled.map(|_| Event::MoveCancelled { group }))
}

/// The planner leaves this shard alone, or no longer does.
pub(super) fn freeze(config: &mut ClusterConfig, group: GroupId, frozen: bool) -> Decided {
    let shard = config.shards.get_mut(&group).ok_or(Refusal::NoSuchGroup(group))?;
    let changed = shard.frozen != frozen;
    shard.frozen = frozen;
    Ok(changed.then_some(Event::ShardFrozen { group, frozen }))
}

/// Forgets a node that votes nowhere and is going or gone. Its id is never given again.
pub(super) fn remove_node(config: &mut ClusterConfig, id: NodeId) -> Decided {
    let node = config.nodes.get(&id).ok_or(Refusal::NoSuchNode(id))?;
    if !matches!(node.state, NodeState::Leaving | NodeState::Lost) {
        return Err(Refusal::StillServes { node: id, state: node.state });
    }
    if let Some(group) = config.votes_of(id).first() {
        return Err(Refusal::StillVotes { node: id, group: *group });
    }
    within(config.nodes.len() > 1, "nodes")?;
    config.last_node = config.last_node.max(id);
    let removed = config.nodes.remove(&id);
    super::trusting::forget(config, id);
    removed.map(|_| Some(Event::NodeRemoved { node: id })).ok_or_else(|| out_of_bounds("nodes"))
}
