//! Who votes where, carried out. Group 0's map is the wish; the leader of each group goes there, and the leader of group 0
//! says where to go next.
//!
//! Every node runs every group: those whom the map names vote, all others observe. So any node serves anyone from its own
//! state, and a vote moves without moving data. Nothing here is remembered: each task compares what is with what should
//! be, so it goes on wherever the last leader stopped. What should be is decided in `cluster-config`, how a group changes
//! its voters in `raft`.

mod direct;
pub(crate) mod explain;
mod follow;
mod raising;
mod splitting;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use cluster_config::{ClusterConfig, Command, NodeState, Outcome};
use raft::{Founding, GroupId, NodeId, Raft, Wish};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::council::Council;
use crate::peers::Peers;
use crate::router::Owners;
use crate::upgrade;

/// How often is compared what is with what should be, when nothing says that it changed.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What the tasks of this room are built on. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Membership {
    /// This node.
    pub(crate) node: NodeId,
    /// The groups that run here: all of the cluster's.
    pub(crate) raft: Raft,
    /// The others.
    pub(crate) peers: Peers,
    /// The map, and the way to change it.
    pub(crate) council: Council,
    /// Who owns which slots.
    pub(crate) owners: Owners,
}

/// How a group begins here, where it has no log yet. One that is not in the map was split off another just now. Only those who founded it may found it, and only while nobody else
/// has come to vote: what they write as their first entry must be the same everywhere.
pub(crate) fn founding(cluster: &ClusterConfig, group: GroupId, node: NodeId) -> Founding {
    let Some(shard) = cluster.shards.get(&group) else { return Founding::Split };
    if shard.parent.is_some() {
        return Founding::Split;
    }
    match Some(shard).filter(|shard| shard.moves == 0 && shard.replicas.contains(&node)) {
        Some(shard) => Founding::Members(shard.replicas.iter().copied().collect()),
        None => Founding::Join,
    }
}

/// The membership that the map wishes a group to have: its voters, and everybody else as an observer.
fn wish(config: &ClusterConfig, group: GroupId) -> Wish {
    let voters: BTreeSet<NodeId> = config.voters_wished(group).iter().copied().collect();
    let observers = config.nodes.keys().copied().filter(|id| !voters.contains(id)).collect();
    Wish { voters, observers }
}

/// Where the clients of `node` may go instead: to nodes that are ready, and to the others only when none is.
pub(crate) fn elsewhere(config: &ClusterConfig, node: NodeId) -> Vec<String> {
    let others = || config.nodes.iter().filter(|(id, _)| **id != node);
    let ready: Vec<String> = others()
        .filter(|(_, other)| other.state == NodeState::Ready)
        .map(|(_, other)| other.addresses.client.clone())
        .collect();
    if !ready.is_empty() {
        return ready;
    }
    others().map(|(_, other)| other.addresses.client.clone()).collect()
}

/// Whether a node was part of the cluster and is no more. Ids are given once and rise, so whoever has one that was given
/// and is not there was removed; whoever has a higher one reads an old state and is yet to come in.
pub(crate) fn is_removed(config: &ClusterConfig, node: NodeId) -> bool {
    let newest = config.nodes.keys().next_back().copied().unwrap_or_default();
    !config.nodes.contains_key(&node) && node <= config.last_node.max(newest)
}

impl Membership {
    /// Begins all tasks of this room but those of the shards, which begin with their groups. `founded`: this process founded
    /// the cluster. `stop` is used when this node turns out to be removed.
    pub(crate) fn begin(self, tasks: &mut JoinSet<()>, founded: bool, stop: &CancellationToken) {
        if let Some(group) = self.raft.group(GroupId::CLUSTER) {
            let (this, stop) = (self.clone(), stop.clone());
            tasks.spawn(async move {
                stop.run_until_cancelled(this.follow(group)).await;
            });
        }
        let (this, end) = (self.clone(), stop.clone());
        tasks.spawn(async move {
            end.run_until_cancelled(this.direct()).await;
        });
        let (this, end) = (self.clone(), stop.clone());
        let grace = if founded { Duration::ZERO } else { raising::GRACE };
        tasks.spawn(async move {
            end.run_until_cancelled(this.raise(grace)).await;
        });
        let (rehearsal, end) = (upgrade::rehearse(self.clone()), stop.clone());
        tasks.spawn(async move {
            end.run_until_cancelled(rehearsal).await;
        });
        let stop = stop.clone();
        tasks.spawn(async move {
            let removed = stop.run_until_cancelled(self.until_removed()).await;
            if removed.is_some() {
                tracing::info!(node = %self.node, "this node was removed from the cluster and stops");
                for group in self.raft.groups() {
                    self.raft.leave(group).await;
                }
                stop.cancel();
            }
        });
    }

    async fn until_removed(&self) {
        let mut configured = self.council.configured();
        let removed = |config: &Option<std::sync::Arc<ClusterConfig>>| {
            config.as_ref().is_some_and(|config| is_removed(config, self.node))
        };
        if configured.wait_for(removed).await.is_err() {
            // Nobody decides anything any more: this process ends for another reason.
            std::future::pending::<()>().await;
        }
    }

    /// Carries a command to group 0. `None`: nobody says what came of it; asking again does no harm.
    async fn propose(&self, command: &Command) -> Option<Outcome> {
        let outcome = self.council.propose("system", command).await;
        outcome.inspect_err(|error| tracing::debug!(%error, "group 0 did not answer")).ok()
    }
}
