//! The planner: which groups should vote elsewhere, and the next few commands that say so. A pure function of the
//! configuration. It compares what is with what should be and remembers nothing, so that whoever leads group 0 next plans
//! on from where the last one stopped. [`place`](crate::place()) founds; this moves, and as little as it can.
//!
//! What should be: each group has an odd number of voters, as many as the cluster was asked for and its nodes allow; no
//! two in one zone while another is free; nobody leaving or lost among them where somebody else can take the vote; votes
//! and leaderships spread by weight. A lost voter is replaced, never just dropped: fewer voters would stand fewer losses.

mod balance;
mod voters;

use std::collections::{BTreeMap, BTreeSet};

use crate::config::CLUSTER_VOTERS_MAX;
use crate::{ClusterConfig, Command, GroupId, NodeId, NodeState, apply};

use voters::Votes;

/// Commands of one plan: what is proposed before the map is looked at again.
const COMMANDS_MAX: usize = 32;

/// How much may be under way at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanLimits {
    /// Moves that a node may take part in at once, as one who comes or one who goes.
    pub moves_per_node: usize,
}

impl Default for PlanLimits {
    fn default() -> PlanLimits {
        // One to be carried out while the next one is being decided; more would only crowd its disk.
        PlanLimits { moves_per_node: 2 }
    }
}

/// The next commands on the way to what should be; empty when nothing is to do. To be proposed in this order, and no
/// further than the first that is not accepted: each names the epoch that the one before it begins.
pub fn plan(config: &ClusterConfig, limits: PlanLimits) -> Vec<Command> {
    let wanted = wanted(config);
    let mut room = Room::of(config, limits);
    let mut commands = Vec::new();
    let mut groups: Vec<GroupId> = config.groups().collect();
    // What has lost a voter first, then group 0, then the shards in their order.
    groups.sort_by_key(|group| (!is_ailing(config, *group), *group));
    for group in groups {
        let to = &wanted[&group];
        let frozen = config.shards.get(&group).is_some_and(|shard| shard.is_fixed());
        if frozen || commands.len() == COMMANDS_MAX || config.voters_wished(group) == to {
            continue;
        }
        let from = set(config.replicas(group));
        let free = match config.moving(group) {
            // A group on its way is turned only when where it goes is no good any more.
            Some(moving) => set(moving) != set(to),
            None => from == set(to) || room.take(&from, &set(to)),
        };
        if free {
            let if_epoch = config.epoch + commands.len() as u64;
            commands.push(Command::MoveShard { group, to: to.clone(), if_epoch });
        }
    }
    let gone = |id: &NodeId| {
        config.nodes[id].state == NodeState::Leaving
            && config.votes_of(*id).is_empty()
            && wanted.values().all(|to| !to.contains(id))
    };
    let gone = config.nodes.keys().filter(|id| gone(id)).take(config.nodes.len() - 1);
    commands.extend(gone.map(|node| Command::RemoveNode { node: *node }));
    commands.truncate(COMMANDS_MAX);
    commands
}

/// The voters that each group should have, who should lead first.
fn wanted(config: &ClusterConfig) -> BTreeMap<GroupId, Vec<NodeId>> {
    let mut votes = Votes::of(config);
    let groups: Vec<GroupId> = config.groups().collect();
    let mut wanted: BTreeMap<GroupId, BTreeSet<NodeId>> = BTreeMap::new();
    for group in &groups {
        let now = set(config.voters_wished(*group));
        let frozen = config.shards.get(group).is_some_and(|shard| shard.is_fixed());
        let most = if group.is_cluster() { CLUSTER_VOTERS_MAX } else { config.replication };
        let to = if frozen { now.clone() } else { votes.wanted(&now, most) };
        if !group.is_cluster() {
            votes.moved(&now, &to);
        }
        wanted.insert(*group, to);
    }
    balance::votes(config, &mut votes, &mut wanted);
    balance::leaders(config, &wanted)
}

/// Whether somebody votes here who is leaving or lost.
fn is_ailing(config: &ClusterConfig, group: GroupId) -> bool {
    config.replicas(group).iter().any(|id| {
        let state = config.nodes.get(id).map(|node| node.state);
        matches!(state, Some(NodeState::Leaving | NodeState::Lost))
    })
}

fn set(nodes: &[NodeId]) -> BTreeSet<NodeId> {
    nodes.iter().copied().collect()
}

/// How many more moves each node may take part in.
struct Room {
    under_way: BTreeMap<NodeId, usize>,
    most: usize,
}

impl Room {
    fn of(config: &ClusterConfig, limits: PlanLimits) -> Room {
        let mut room = Room { under_way: BTreeMap::new(), most: limits.moves_per_node };
        for group in config.groups() {
            if let Some(moving) = config.moving(group) {
                room.enter(&set(config.replicas(group)), &set(moving));
            }
        }
        room
    }

    /// Takes a place for this move, if everybody who comes or goes has one.
    fn take(&mut self, from: &BTreeSet<NodeId>, to: &BTreeSet<NodeId>) -> bool {
        let under_way = |id: &NodeId| self.under_way.get(id).copied().unwrap_or(0);
        let free = from.symmetric_difference(to).all(|id| under_way(id) < self.most);
        if free {
            self.enter(from, to);
        }
        free
    }

    fn enter(&mut self, from: &BTreeSet<NodeId>, to: &BTreeSet<NodeId>) {
        for id in from.symmetric_difference(to) {
            *self.under_way.entry(*id).or_default() += 1;
        }
    }
}

/// Rounds of plans that are looked ahead: more than the largest cluster needs at two moves a node.
const ROUNDS_MAX: usize = 4_096;

/// Everything that the planner would do from here, if each move arrives and nothing else happens: what an operator is
/// shown before they decide. The commands are those of [`plan`], one round after the other.
pub fn foresee(config: &ClusterConfig) -> Vec<Command> {
    let (mut this, mut all) = (Some(config.clone()), Vec::new());
    for _ in 0..ROUNDS_MAX {
        let Some(config) = &this else { break };
        let arrived: Vec<Command> = config
            .groups()
            .filter_map(|group| {
                let replicas = config.moving(group)?.to_vec();
                Some(Command::FinishMove { group, replicas })
            })
            .collect();
        if arrived.is_empty() {
            let next = plan(config, PlanLimits::default());
            if next.is_empty() {
                break;
            }
            next.iter().for_each(|command| drop(apply(&mut this, 0, "", command)));
            all.extend(next);
        }
        arrived.iter().for_each(|command| drop(apply(&mut this, 0, "", command)));
    }
    all
}
